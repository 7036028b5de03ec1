"""What is drawn over the 3D viewport: the preview of the cameras, and the look through one."""
