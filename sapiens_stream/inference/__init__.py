"""From frames to class maps on a device."""
