"""FFmpeg, OpenCV and SVT-AV1 silenced, since what they would print becomes an exception or a warning.

Importing the package changes nothing of the process; whatever opens media or an encoder calls `keep_quiet` first.
"""

from __future__ import annotations

import os
from functools import cache

import av.logging
import cv2


@cache
def keep_quiet() -> None:
    """Once in a process: a level that its owner sets later stays.

    FFmpeg's messages go through a Python callback that can deadlock with the threads that decode (PyAV#2276, #751).
    """
    av.logging.set_level(None)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 does not know FFmpeg's log level
