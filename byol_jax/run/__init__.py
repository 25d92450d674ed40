"""A run: its loop, its folder, its checkpoints, and the host that it runs on."""
