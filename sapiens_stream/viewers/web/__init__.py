"""The live picture in a browser: a page that each viewer sets up as they like, at no cost to the run."""

from sapiens_stream.viewers.web.address import parse_address
from sapiens_stream.viewers.web.preview import WebPreview

__all__ = ["WebPreview", "parse_address"]
