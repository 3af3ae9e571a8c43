"""The errors a user can meet. Each message is one line: what was wrong, with the value, and what would be right."""

import errno
import re

from sapiens_stream.install_line import pip_install


class SapiensStreamError(Exception):
    """Base of every error that is the user's to read, in one line; anything else that escapes is a bug.

    >>> try:
    ...     result = Segmenter("builtin")("photo.jpg")
    ... except SapiensStreamError as error:
    ...     print(f"error: {error}")
    error: photo.jpg: no such file or folder
    """


class UsageError(SapiensStreamError, ValueError):
    """A setting that is impossible: out of range, unknown, or at odds with another.

    Args:
        message: the line that is shown.
        on_command_line: the line there, where an argument goes by another name; None: the same.

    >>> Segmenter("builtin", precision="fp8")
    UsageError: no precision is called 'fp8'; there are auto, fp32, fp16, bf16
    """

    def __init__(self, message: str, *, on_command_line: str | None = None) -> None:
        super().__init__(message)
        self.on_command_line = on_command_line or message


class InputError(SapiensStreamError):
    """A photo, video or stream that cannot be opened, or decoded.

    >>> Video("notes.txt")
    InputError: notes.txt: its content is not a video, or is damaged at its beginning
    """


class ModelError(SapiensStreamError):
    """A checkpoint that cannot be read or run.

    >>> Segmenter("sapiens_1b.pth")
    ModelError: sapiens_1b.pth is cut short or damaged: an archive, but it has no end; fetch it again
    """


class DeviceError(SapiensStreamError):
    """A device that is not there, or cannot do what was asked.

    >>> Segmenter("builtin", device="cuda:7")
    DeviceError: no device cuda:7 here; there are cpu, cuda:0
    """


class Stalled(SapiensStreamError):
    """A stage of a run that has not moved for too long, and was given up."""


class OutputError(SapiensStreamError):
    """A result that cannot be written.

    >>> result.save("/proc", "astronaut")
    OutputError: /proc/astronaut.png can't be written: No such file or directory
    """


class FolderLost(OutputError):
    """Where a run's results go cannot be made or reached, or was deleted or replaced while it ran."""


class FolderTaken(UsageError):
    """A folder that holds the results of another run, or that another run is writing to."""


class FolderBusy(FolderTaken):
    """A folder that another run is writing to."""


AT_A_LIMIT = "memory, or the number of processes (ulimit -u), is at its limit"
"""Why no thread can be started; the system does not tell which of them it is."""

_NO_THREAD = "can't start new thread"
_SAYINGS = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    _NO_THREAD,
    "bad_alloc",
)
"""Of the loader of shared libraries, torch's allocator and Python's threads, whose stacks are memory as well."""


_NO_LIBRARY = re.compile(r"(\S+): cannot open shared object file")
"""How the loader of shared libraries says which of the system's it did not find."""

_CURES = {"cv2": "Debian, Ubuntu: apt install libgl1 libglib2.0-0 libsm6; without windows: {} opencv-python-headless"}
"""By the module that needs libraries which a small system, as of a container, lacks; with a place for pip."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a library, or the system, could not allocate what it needed in the computer's own memory."""
    refused_by_opencv = type(error).__module__.startswith("cv2") and getattr(error, "code", None) == -4  # StsNoMem
    refused_by_system = isinstance(error, OSError) and error.errno == errno.ENOMEM
    said = not isinstance(error, SapiensStreamError) and any(saying in str(error).lower() for saying in _SAYINGS)
    return isinstance(error, MemoryError) or refused_by_opencv or refused_by_system or said


def cause(error: BaseException) -> str:
    """One line that says why `error` came about, without its type where the text speaks for itself."""
    if isinstance(error, SapiensStreamError):
        return str(error)
    if isinstance(error, ImportError):
        return _not_imported(error)
    if _NO_THREAD in str(error):
        return f"no thread can be started: {AT_A_LIMIT}"
    if out_of_memory(error):
        return "out of memory"
    if isinstance(text := getattr(error, "strerror", None), str) and text:  # of the system's errors, and of FFmpeg's
        return text
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _not_imported(error: ImportError) -> str:
    text = " ".join(str(error).split())
    if out_of_memory(error):
        return f"out of memory: {text}"
    if error.name and (library := _NO_LIBRARY.match(text)):
        cure = f" ({_CURES[error.name].format(pip_install())})" if error.name in _CURES else ""
        return f"{error.name} needs {library[1]}, which this system lacks{cure}"
    return text
