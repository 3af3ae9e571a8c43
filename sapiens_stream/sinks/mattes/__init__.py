"""Mattes: the picture with chosen classes opaque, or how opaque each pixel is alone."""
