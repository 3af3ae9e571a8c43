"""A run, or two of them, on one page that needs nothing else: no network, no script."""
