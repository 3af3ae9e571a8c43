"""Sapiens2 checkpoints: weights alone (safetensors), run by the networks in the library `transformers`."""
