"""Defaults that several parts share. Nothing heavy is imported here, so that a command's help can show them."""

from __future__ import annotations

MAX_PIXELS = 200_000_000
"""Of a picture. More than any camera's: files are untrusted, and 31 KB of PNG can ask for gigabytes."""

# What the names of files end in.
CLASS_MAP = "_seg.npy"
FOREGROUND = ".npy"
FRAME_JSON = ".json"
LABEL_VIDEO = "_labels.mkv"
JSON_LINES = ".jsonl"
OVERLAY = "_overlay"
"""An overlay video's; the codec's container follows."""
CONTACT_SHEET = "_sheet.png"
RUN_RECORD = "_run.json"
