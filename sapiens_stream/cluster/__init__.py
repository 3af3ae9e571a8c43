"""Many machines: inputs split between processes that know nothing of each other, or handed out by Ray."""
