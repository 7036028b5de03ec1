"""Where finished assets go: folders, archives, shards, and storage elsewhere."""
