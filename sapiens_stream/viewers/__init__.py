"""Live pictures for people to watch: in a window, in a browser."""
