"""The live picture in a browser: a page that each viewer sets up as they like, at no cost to the run."""

from sapiens_stream.sinks.preview.web.address import parse_address
from sapiens_stream.sinks.preview.web.preview import WebPreview

__all__ = ["WebPreview", "parse_address"]
