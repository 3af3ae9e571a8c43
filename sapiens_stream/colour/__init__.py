"""What the numbers of a picture mean, and how an HDR or wide-gamut picture becomes an SDR one of BT.709."""

from sapiens_stream.colour.tags import Colour, colour_of

__all__ = ["Colour", "colour_of"]
