"""Photos as a source: decoded several at once, yielded in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from sapiens_stream.containers.limits import PHOTO_BYTES_AT_ONCE, require_max_pixels
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Damaged, Frame, Skipped, SourceInfo
from sapiens_stream.settings import MAX_PIXELS, PHOTO_WORKERS, as_int, unclear_flag
from sapiens_stream.sources.budget import OrderedBudget
from sapiens_stream.sources.decoding import DECODERS, Decoder, Photo, decode_photo, open_photo
from sapiens_stream.sources.deep import may_be_deep, read_original
from sapiens_stream.sources.listing import Input, Listed, list_photos, named
from sapiens_stream.sources.source import OPEN_IN_EACH, Source
from sapiens_stream.threads import OwnProcess, Pool

TICK = 0.2  # seconds between two looks at what is waited for


@dataclass
class _Pending:
    each: Listed | Skipped
    order: int
    future: Future[Photo | Skipped | None]
    age: float = 0.0
    """Seconds for which it was seen to be read; none pass while nobody looks, the process being stopped."""


class Photos(Source):
    """The photos of a folder, a `.txt` list, a glob, or a single file; or several photos.

    What `list_photos` says of the names holds for `Frame.name`. A photo that cannot be read is a `Skipped`. Of an
    animation, and of a file with several pictures, the first is taken.

    Args:
        what: the folder, list, glob or file, or a sequence of files.
        decoder: "pyav", or "opencv" for the pixels that `cv2.imread` gives; where one cannot read a file, the other
            does.
        workers: photos that are decoded at once, fewer where they are very large.
        recursive: take the photos of sub-folders too.
        exclude: a folder whose photos are left out.
        max_pixels: of a photo; one with more is a `Skipped`.
        share: only those photos are taken for whose names it is true; they keep the indices that they have among all of
            them. None: all.
        stall_timeout: seconds after which a photo that is still being read is a `Skipped`, and its thread left behind;
            those in which the process was stopped do not count. 0: it is waited for.

    Raises:
        InputError: where there is no such input, or no photo in it.
        UsageError: for an impossible setting.

    >>> with Photos("holiday", recursive=True) as photos:
    ...     for frame in photos.frames():
    ...         print(frame.name)
    """

    def __init__(
        self,
        what: Input,
        *,
        decoder: Decoder = "pyav",
        workers: int = PHOTO_WORKERS,
        recursive: bool = False,
        exclude: Path | None = None,
        max_pixels: int = MAX_PIXELS,
        share: Callable[[str], bool] | None = None,
        stall_timeout: float = 0.0,
    ) -> None:
        if decoder not in DECODERS:
            raise UsageError(f"no decoder {decoder!r}; there are {', '.join(DECODERS)}")
        if type(as_int(workers)) is not int or workers < 1:
            raise UsageError(f"{workers!r} workers; it is a whole number, 1 or more")
        if unclear := unclear_flag(recursive=recursive):
            raise UsageError(unclear)
        require_max_pixels(max_pixels)
        self._decoder = decoder
        self._max_pixels = max_pixels
        self._budget = OrderedBudget(PHOTO_BYTES_AT_ONCE)
        self._listed = list_photos(what, recursive=recursive, exclude=exclude)
        self._left_out: dict[int, int] = {}
        if share is not None:
            self._take_share(share)
        count = sum(isinstance(each, Listed) for each in self._listed)
        self.info = SourceInfo(name=named(what), kind="photos", frame_count=count)
        self._ahead = 2 * workers  # so that one slow photo does not leave the others' threads idle
        self._workers = workers
        self._pool = self._new_pool()  # `close` ends it
        self._stall_timeout = stall_timeout
        self.alive: Callable[[], None] = lambda: None
        """Called while a photo is waited for."""
        self.hung = False
        """Whether a thread was left behind."""
        self._in_line: set[int] = set()
        """Those that wait for memory."""
        self._lock = threading.Lock()
        self._closed = False
        self._numbers: Mapping[str, int | None] = {}
        self._on_pass: Callable[[str], None] = lambda name: None
        self._paths: dict[str, Path] = {}
        self._process: OwnProcess | None = None
        """That in which its threads were begun."""
        self._frames: Iterator[Frame | Skipped] = self._read()

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    @property
    def is_empty(self) -> bool:
        """Whether a share holds nothing at all."""
        return not self._listed

    def _take_share(self, share: Callable[[str], bool]) -> None:
        kept: list[Listed | Skipped] = []
        left_out = 0
        for each in self._listed:
            if share(each.name if isinstance(each, Listed) else Path(each.name).name):
                self._left_out[len(kept)] = left_out
                kept.append(each)
                left_out = 0
            else:
                left_out += isinstance(each, Listed)
        self._listed = kept

    def pass_over(self, numbers: Mapping[str, int | None], on_pass: Callable[[str], None]) -> None:
        self._numbers = numbers
        self._on_pass = on_pass

    def path_of(self, name: str) -> Path | None:
        if not self._paths:
            self._paths = {each.name: each.path for each in self._listed if isinstance(each, Listed)}
        return self._paths.get(name)

    @property
    def names(self) -> Sequence[str]:
        return [each.name for each in self._listed if isinstance(each, Listed)]

    @property
    def inputs(self) -> Sequence[str]:
        """The paths of all that is listed, those too that are skipped, in order and each once."""
        return list(dict.fromkeys(str(each.path) if isinstance(each, Listed) else each.name for each in self._listed))

    def close(self) -> None:
        if self._process is not None and self._process.left:  # where a lock may be held by who never lets go
            return
        with self._lock:
            self._closed = True
        self._budget.close()
        self._pool.shutdown(wait=not self.hung, cancel_futures=True)
        self._frames = iter(())  # a generator that is kept would keep its frames

    def _read(self) -> Iterator[Frame | Skipped]:
        waiting = iter(self._listed)
        pending: deque[_Pending] = deque()
        index = submitted = 0
        process = self._process = OwnProcess()
        try:
            while True:
                process.require(f"{self.info.name}: it was opened", OPEN_IN_EACH)
                with self._lock:  # the pool takes nothing more once it is shut
                    if self._closed:
                        return
                    for each in islice(waiting, self._ahead - len(pending)):
                        pending.append(_Pending(each, submitted, self._pool.submit(self._decode, each, submitted)))
                        submitted += 1
                if not pending:
                    return
                each, order = pending[0].each, pending[0].order
                try:
                    result = self._result(pending)
                except CancelledError:
                    return
                pending.popleft()
                index += self._left_out.get(order, 0)
                if isinstance(each, Skipped):  # it was never a photo of the list
                    self._budget.give_back(order)
                    yield each
                    continue
                if result is None:
                    if self._numbers[each.name] in (None, index):
                        self._on_pass(each.name)
                    else:  # other photos have come or gone before it
                        result = self._read_photo(each, order)
                self._budget.give_back(order)
                if isinstance(result, Photo):
                    yield Frame(
                        index=index,
                        name=each.name,
                        decoded=result.decoded,
                        quarter_turns=result.quarter_turns,
                        mirrored=result.mirrored,
                        damaged=Damaged(str(each.path), result.damaged) if result.damaged else None,
                        original=partial(read_original, each.path, self._max_pixels) if result.deep else None,
                    )
                elif result is not None:
                    yield result
                index += 1  # one that cannot be read has a number too: other shards count it, unread
        finally:
            self.close()

    def _result(self, pending: Sequence[_Pending]) -> Photo | Skipped | None:
        """That of the first. Where it hangs, another thread takes its place."""
        first = pending[0]
        while not wait([first.future], TICK if self._stall_timeout else None).done:
            self.alive()
            for each in pending:
                each.age += TICK * (each.future.running() and each.order not in self._in_line)
            if first.age >= self._stall_timeout:
                self._replace_threads(pending)
                path = first.each.path if isinstance(first.each, Listed) else first.each.name
                return Skipped(str(path), f"decoding has hung for {first.age:.3g} s")
        return first.future.result()

    def _replace_threads(self, pending: Sequence[_Pending]) -> None:
        with self._lock:
            if self._closed:
                raise CancelledError
            self.hung = True
            self._pool.shutdown(wait=False)
            self._pool = self._new_pool()
            for each in pending:
                if each.future.cancel():
                    each.future = self._pool.submit(self._decode, each.each, each.order)

    def _new_pool(self) -> Pool:
        return Pool(self._workers, thread_name_prefix="photo")

    def _decode(self, each: Listed | Skipped, order: int) -> Photo | Skipped | None:
        """None where it is to be passed over."""
        if isinstance(each, Skipped):
            return each
        return None if each.name in self._numbers else self._read_photo(each, order)

    def _read_photo(self, each: Listed, order: int) -> Photo | Skipped:
        try:
            file = open_photo(each.path, self._max_pixels)
            self._in_line.add(order)
            self._budget.take(order, file.bytes_to_decode)
            self._in_line.discard(order)
            photo = decode_photo(file, self._decoder, self._max_pixels)
            return replace(photo, deep=True) if may_be_deep(file) else photo
        except InputError as error:
            return Skipped(str(each.path), str(error))
