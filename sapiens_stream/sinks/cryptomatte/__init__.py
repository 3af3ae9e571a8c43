"""Cryptomatte: ids of parts, and of people's parts, with how much of each pixel they cover, for compositors."""
