"""What every sink is: something that results are written to, and that is closed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from sapiens_stream.frame import Segmentation
from sapiens_stream.sinks.files import holds, is_there, path_below, written_aside
from sapiens_stream.sinks.numbered import Numbered


class Sink(ABC):
    """Writes results. One of your own needs `write` alone.

    An `ordered` sink gets the results of a source in order, from one thread; any other may be called from several
    threads at once, in any order.

    Raises:
        OutputError: where a file, which it names, cannot be written. Whatever else a sink raises ends the run too.

    >>> class Shares(Sink):
    ...     def write(self, result):
    ...         print(result.frame.name, {label.name: label.fraction for label in result.labels})
    >>> with open_source("clip.mp4") as source:
    ...     Run(source, Segmenter("builtin").engine, [Shares()]).execute(check=True)
    """

    ordered: ClassVar[bool] = False

    endings: tuple[str, ...] = ()
    """What the names of the files end in that it writes for each result."""

    numbered: Numbered | None = None
    """What those files are called, where not by their results' names and `endings`."""

    on_file: Callable[[str, str, int, str], None] | None = None
    """Called for each such file once it is whole: the result's name, the ending, the size in bytes, and the name that
    the file goes by, that of the result unless it is `numbered`."""

    resumed = False
    """Whether an earlier run may have written some of the files: those that are the same already are left alone."""

    reached = 0
    """How many results the earlier start that came farthest has written."""

    @abstractmethod
    def write(self, result: Segmentation) -> None:
        """Writes one result; each file is whole under its name when this returns, or not there.

        Args:
            result: a frame with its class map.
        """

    def resume(self, reached: int = 0) -> None:
        """Called before the first result where this run continues what an earlier one has left.

        Args:
            reached: how many results that has written, or the start of it that came farthest.
        """
        self.resumed = True
        self.reached = reached

    def prepare(self, result: Segmentation) -> Callable[[], Any] | None:
        """Work on a result that need not wait for those before it, such as painting; None if there is none.

        Called in order, ahead of `write_prepared`.

        Args:
            result: the one that will be written.

        Returns:
            What may be called in any thread, and in any order.
        """
        return None

    def write_prepared(self, result: Segmentation, prepared: Any) -> None:
        """As `write`, where there was something to `prepare`.

        Args:
            result: a frame with its class map.
            prepared: what the work that `prepare` gave has returned.
        """
        self.write(result)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        """About how much disk a result takes; for the estimate before a run.

        Args:
            size: (height, width) of the frames, pixels.
        """
        return 0

    def measure(self, result: Segmentation) -> int:
        """About how much disk a result takes; for the estimate once the first is there.

        Args:
            result: one like those to come.
        """
        return self.bytes_per_frame(result.class_map.shape)

    def in_one_file(self, size: tuple[int, int], first: Segmentation | None = None) -> tuple[str, int] | None:
        """For long videos, where it writes a file for each frame: an output that holds as much in one.

        Args:
            size: (height, width) of the frames, pixels.
            first: a result like those to come, once it is there.

        Returns:
            The word of `--save` for it, and about how many bytes a frame takes there; None where there is none.
        """
        return None

    def close(self) -> None:
        """Finishes what is open so that it is readable; called once, also after a failure or an interruption.

        It is not called where the run does nothing, being complete already or refused its folder. A sink of your own
        that is resumed therefore opens its file at the first `write`: then such a run leaves the file as it is.

        Raises:
            OutputError: where it cannot be finished.
        """

    def identify(self, fingerprint: str) -> None:
        """Called, before `close`, with what the run is known by.

        Args:
            fingerprint: the hash over what makes the run's class maps: input, model, settings.
        """

    @property
    def planned(self) -> list[Path]:
        """The files that span the whole source, whether they are there yet or not."""
        return []

    @property
    def written(self) -> list[Path]:
        """Those of `planned` that are there and whole, once closed."""
        return []

    def _stays(self, path: Path, written: int) -> bool:
        """Whether what an earlier start left of a file of the whole source stays, for it came farther than this one.

        `written` is how many results this one has written to its own.
        """
        return self.resumed and written < self.reached and is_there(path)

    @contextmanager
    def _file_of(self, root: Path, result: Segmentation, ending: str) -> Iterator[BinaryIO]:
        """As `_new_file`, by the result's name or as `numbered` says."""
        frame, name = result.frame, result.frame.name
        if self.numbered is not None:
            name, ending = self.numbered.name(name, frame.index, frame.number), self.numbered.ending
        with self._new_file(root, name, ending, of=frame.name) as file:
            yield file

    @contextmanager
    def _new_file(self, root: Path, name: str, ending: str, *, of: str | None = None) -> Iterator[BinaryIO]:
        """Gives a file to write to; it takes its name below `root` and is reported when the block ends.

        `of` is the name of the result, if that is another.
        """
        path = path_below(root, name, ending)
        if self.resumed and is_there(path):
            again = BytesIO()
            yield again
            size = again.tell()
            if not holds(path, again.getbuffer()):
                with written_aside(path) as file:
                    file.write(again.getbuffer())
        else:
            with written_aside(path) as file:
                yield file
                size = file.tell()
        if self.on_file is not None:
            self.on_file(of or name, ending, size, name)
