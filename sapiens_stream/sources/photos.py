"""Photos as a source: decoded several at once, yielded in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from sapiens_stream.containers.limits import PHOTO_BYTES_AT_ONCE
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Damaged, Frame, Skipped, SourceInfo
from sapiens_stream.settings import MAX_PIXELS, PHOTO_WORKERS
from sapiens_stream.sources.budget import OrderedBudget
from sapiens_stream.sources.decoding import DECODERS, Decoder, Photo, decode_photo, open_photo
from sapiens_stream.sources.listing import Listed, list_photos
from sapiens_stream.sources.source import Source


class Photos(Source):
    """The photos of a folder, a `.txt` list, a glob, or a single file.

    What `list_photos` says of the names holds for `Frame.name`. A photo that cannot be read is a `Skipped`. Of an
    animation, and of a file with several pictures, the first is taken.

    Args:
        what: the folder, list, glob or file.
        decoder: "pyav", or "opencv" for the pixels that `cv2.imread` gives; where one cannot read a file, the other
            does.
        workers: photos that are decoded at once, fewer where they are very large.
        recursive: take the photos of sub-folders too.
        exclude: a folder whose photos are left out.
        max_pixels: of a photo; one with more is a `Skipped`.
        share: only those photos are taken for whose names it is true; they keep the indices that they have among all of
            them. None: all.

    Raises:
        InputError: where there is no such input, or no photo in it.
        UsageError: for an impossible setting.

    >>> with Photos("holiday", recursive=True) as photos:
    ...     for frame in photos.frames():
    ...         print(frame.name)
    """

    def __init__(
        self,
        what: str | Path,
        *,
        decoder: Decoder = "pyav",
        workers: int = PHOTO_WORKERS,
        recursive: bool = False,
        exclude: Path | None = None,
        max_pixels: int = MAX_PIXELS,
        share: Callable[[str], bool] | None = None,
    ) -> None:
        if decoder not in DECODERS:
            raise UsageError(f"no decoder {decoder!r}; there are {', '.join(DECODERS)}")
        if workers < 1:
            raise UsageError(f"{workers} workers; at least 1 is needed")
        if max_pixels < 1:
            raise UsageError(f"max_pixels is {max_pixels}; at least 1 is needed")
        self._decoder = decoder
        self._max_pixels = max_pixels
        self._budget = OrderedBudget(PHOTO_BYTES_AT_ONCE)
        self._listed = list_photos(what, recursive=recursive, exclude=exclude)
        self._left_out: dict[int, int] = {}
        if share is not None:
            self._take_share(share)
        count = sum(isinstance(each, Listed) for each in self._listed)
        self.info = SourceInfo(name=str(what), kind="photos", frame_count=count)
        self._ahead = 2 * workers  # so that one slow photo does not leave the others' threads idle
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="photo")  # `close` ends it
        self._lock = threading.Lock()
        self._closed = False
        self._numbers: Mapping[str, int | None] = {}
        self._on_pass: Callable[[str], None] = lambda name: None
        self._paths: dict[str, Path] = {}
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

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._budget.close()
        self._pool.shutdown(cancel_futures=True)
        self._frames = iter(())  # a generator that is kept would keep its frames

    def _read(self) -> Iterator[Frame | Skipped]:
        waiting = iter(self._listed)
        pending: deque[tuple[Listed | Skipped, Future[Photo | Skipped | None]]] = deque()
        index = submitted = 0
        try:
            while True:
                with self._lock:  # the pool takes nothing more once it is shut
                    if self._closed:
                        return
                    for each in islice(waiting, self._ahead - len(pending)):
                        pending.append((each, self._pool.submit(self._decode, each, submitted)))
                        submitted += 1
                if not pending:
                    return
                each, future = pending.popleft()
                try:
                    result = future.result()
                except CancelledError:
                    return
                order = submitted - len(pending) - 1
                index += self._left_out.get(order, 0)
                if result is None and isinstance(each, Listed):
                    if self._numbers[each.name] in (None, index):
                        self._on_pass(each.name)
                        index += 1
                    else:  # other photos have come or gone before it
                        result = self._read_photo(each, order)
                self._budget.give_back(order)
                if isinstance(result, Photo) and isinstance(each, Listed):
                    yield Frame(
                        index=index,
                        name=each.name,
                        decoded=result.decoded,
                        quarter_turns=result.quarter_turns,
                        mirrored=result.mirrored,
                        damaged=Damaged(str(each.path), result.damaged) if result.damaged else None,
                    )
                    index += 1
                elif isinstance(result, Skipped):
                    yield result
        finally:
            self.close()

    def _decode(self, each: Listed | Skipped, order: int) -> Photo | Skipped | None:
        """None where it is to be passed over."""
        if isinstance(each, Skipped):
            return each
        return None if each.name in self._numbers else self._read_photo(each, order)

    def _read_photo(self, each: Listed, order: int) -> Photo | Skipped:
        try:
            file = open_photo(each.path, self._max_pixels)
            self._budget.take(order, file.bytes_to_decode)
            return decode_photo(file, self._decoder, self._max_pixels)
        except InputError as error:
            return Skipped(str(each.path), str(error))
