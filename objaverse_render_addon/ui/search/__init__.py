"""Search Objaverse in the sidebar, with pictures, and import with a click."""
