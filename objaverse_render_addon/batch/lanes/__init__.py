"""Where assets are rendered: on this machine or on a cluster, and how many at a time."""
