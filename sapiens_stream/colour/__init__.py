"""What the numbers of a picture mean, and how an HDR or wide-gamut picture becomes an SDR one of BT.709."""
