"""What is written and read back: image files, layouts, metadata, verification, contact sheets."""
