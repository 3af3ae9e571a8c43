"""What a live run writes: recordings, class maps and JSON of what was shown, and snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import ClassVar, Literal

from sapiens_stream.errors import SapiensStreamError, cause
from sapiens_stream.frame import Segmentation
from sapiens_stream.live.background_writer import BackgroundWriter
from sapiens_stream.live.camera import Camera
from sapiens_stream.models.model import Model
from sapiens_stream.painting import Painter
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.sinks import JsonSink, MaskSink, OverlayVideo, PictureSink, Sink
from sapiens_stream.sinks.video.encoders import require_working


@dataclass(frozen=True, kw_only=True)
class LiveOutputs:
    """What is written where. `only` are the ids of the classes that are painted and written; None: all.

    `video` is the recording's file, begun at once if given; `folder` is where all else goes, and recordings that are
    begun later. `save` holds what is written for each frame: "classes", "foreground", "json".
    """

    folder: Path
    video: Path | None = None
    save: frozenset[str] = frozenset()
    opacity: float = 0.5
    keep_background: bool = False
    only: tuple[int, ...] | None = None
    regions: Literal["polygons", "rle", "none"] = "polygons"
    title: str = "result"
    codec: str = "libx264"
    preset: str = "superfast"
    gpu: int | None = None
    """The number of the CUDA card that NVENC encodes on."""

    @property
    def stem(self) -> str:
        """Names the run: its record, and the folder of its frames."""
        return self.video.stem if self.video else "live"

    @property
    def record(self) -> Path:
        """The run record, beside the recording if there is one."""
        return (self.video.parent if self.video else self.folder) / f"{self.stem}_run.json"


class Recorder:
    """Writes for every camera, each file in a thread of its own that the run never waits for.

    With several cameras a name ends in the camera's place: NAME_cam1, NAME_cam2. `warn` is told at once of what fails;
    the first failure is kept in `failure`. Raises UsageError for an encoder that is not there.
    """

    def __init__(
        self,
        outputs: LiveOutputs,
        cameras: Sequence[Camera],
        model: Model,
        warn: Callable[[str], None],
    ) -> None:
        require_working(outputs.codec)
        self.failure: BaseException | None = None
        self.on_file: Callable[[str, str, int], None] = lambda name, ending, size: None
        """Is told of each frame's file as `Sink.on_file` is, by its name below the record's folder."""
        self._outputs = outputs
        self._cameras = cameras
        self._warn = warn
        self._lock = Lock()
        self._painter = Painter(
            model.classes, opacity=outputs.opacity, keep_background=outputs.keep_background, only=outputs.only
        )
        self._videos: list[BackgroundWriter] = []
        self._saved = (
            [BackgroundWriter(self._frame_sinks(outputs.save), self._fail) for _ in cameras] if outputs.save else []
        )
        self._snapshots: list[BackgroundWriter] = []
        self._done: list[BackgroundWriter] = []
        if outputs.video is not None:
            self._begin(outputs.video)

    @property
    def planned(self) -> FileList:
        """The files below the record's folder that are certain to come."""
        files, root, outputs = FileList(), self._outputs.record.parent, self._outputs
        if outputs.video is not None:
            for place in range(len(self._cameras)):
                files.add_single(self._for_camera(outputs.video.stem, place) + outputs.video.suffix)
        endings = [ending for sink in self._frame_sinks(outputs.save) for ending in sink.endings]
        if endings and outputs.folder.is_relative_to(root):
            for place in range(len(self._cameras)):
                name = outputs.folder.relative_to(root) / self._for_camera(outputs.stem, place) / "000000"
                files.claim(name.as_posix(), 999_999, endings)
        return files

    @property
    def recording(self) -> bool:
        """Whether a recording is going on."""
        return any(not video.failed for video in self._videos)

    def write(self, camera: int, result: Segmentation) -> None:
        """Takes what was shown of a camera, by its place; returns at once."""
        if self._videos:
            self._videos[camera].offer(result)
        if self._saved:
            self._saved[camera].offer(
                _named(result, f"{self._for_camera(self._outputs.stem, camera)}/{result.frame.index:06d}")
            )

    def toggle(self) -> None:
        """Begins a recording, named by the time, or ends the one that is going on."""
        begins = not self.recording
        self._end_videos()
        if begins:
            first = self._outputs.video
            folder, stem, ending = (
                (first.parent, first.stem, first.suffix) if first else (self._outputs.folder, "live", ".mp4")
            )
            self._begin(folder / f"{stem}_{time_stamp()}{ending}")

    def snapshot(self, latest: Sequence[Segmentation | None]) -> None:
        """Writes what is shown of each camera: picture, class map and JSON, named by the time; returns at once."""
        if not self._snapshots:
            sinks = [
                PictureSink(self._outputs.folder, self._painter),
                *self._frame_sinks(frozenset({"classes", "json"})),
            ]
            for sink in sinks:
                sink.on_file = self._tell_file
            self._snapshots = [BackgroundWriter(sinks, self._fail)]
        name = f"snapshot_{time_stamp()}"
        for camera, result in enumerate(latest):
            if result is not None:
                self._snapshots[0].offer(_named(result, self._for_camera(name, camera)))

    def close(self) -> None:
        """Finishes all files."""
        self._end_videos()
        for writer in self._writers:
            writer.end()
        for writer in self._writers:
            writer.join()

    @property
    def writes(self) -> bool:
        """Whether there is a file of this run, or will be."""
        planned = self._outputs.video is not None or bool(self._outputs.save)
        return planned or any(writer.written for writer in self._writers)

    @property
    def files(self) -> list[Path]:
        """The recordings that are finished."""
        return [Path(path) for writer in self._done for path in writer.files]

    def as_dict(self) -> dict[str, dict[str, int]]:
        """For the run record, as JSON types: frames written, and left out because the disk or encoder fell behind."""
        kinds = {"video": [*self._done, *self._videos], "frames": self._saved, "snapshots": self._snapshots}
        return {
            kind: {
                "written": sum(writer.written for writer in writers),
                "dropped": sum(writer.dropped for writer in writers),
            }
            for kind, writers in kinds.items()
            if writers
        }

    @property
    def _writers(self) -> list[BackgroundWriter]:
        return [*self._done, *self._videos, *self._saved, *self._snapshots]

    def _begin(self, path: Path) -> None:
        self._videos = [
            BackgroundWriter([self._video(path.with_stem(self._for_camera(path.stem, place)), place)], self._fail)
            for place in range(len(self._cameras))
        ]

    def _end_videos(self) -> None:
        for video in self._videos:
            video.end()
        self._done += self._videos
        self._videos = []

    def _video(self, path: Path, camera: int) -> Sink:
        def of_this_size(part: int) -> OverlayVideo:
            return OverlayVideo(
                path if part == 1 else path.with_stem(f"{path.stem}_{part}"),
                self._cameras[camera].source.info,
                self._painter,
                codec=self._outputs.codec,
                preset=self._outputs.preset,
                gpu=self._outputs.gpu,
                audio=False,
                warn=self._warn,
            )

        return _VideoPerSize(of_this_size)

    def _frame_sinks(self, save: frozenset[str]) -> list[Sink]:
        outputs = self._outputs
        sinks: list[Sink] = []
        if save & {"classes", "foreground"}:
            foreground, classes = "foreground" in save, "classes" in save
            sinks.append(MaskSink(outputs.folder, foreground=foreground, classes=classes, only=outputs.only))
        if "json" in save:
            sinks.append(JsonSink(outputs.folder, title=outputs.title, regions=outputs.regions, only=outputs.only))
        for sink in sinks:
            sink.on_file = self._tell_file
        return sinks

    def _tell_file(self, name: str, ending: str, size: int) -> None:
        root, folder = self._outputs.record.parent, self._outputs.folder
        if folder.is_relative_to(root):
            self.on_file((folder.relative_to(root) / name).as_posix(), ending, size)

    def _for_camera(self, name: str, camera: int) -> str:
        return name if len(self._cameras) == 1 else f"{name}_cam{camera + 1}"

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            first, self.failure = self.failure is None, self.failure or error
        if first:
            self._warn(cause(error) if isinstance(error, SapiensStreamError) else f"not written: {cause(error)}")


class _VideoPerSize(Sink):
    """A video, and another one each time that the frames change their size: no player scales in the midst of one."""

    ordered: ClassVar[bool] = True

    def __init__(self, begin: Callable[[int], OverlayVideo]) -> None:
        self._begin = begin
        self._parts: list[OverlayVideo] = []
        self._size: tuple[int, int] | None = None

    def write(self, result: Segmentation) -> None:
        if result.frame.size != self._size:
            self.close()
            self._parts.append(self._begin(len(self._parts) + 1))
            self._size = result.frame.size
        self._parts[-1].write(result)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return self._begin(1).bytes_per_frame(size)

    def close(self) -> None:
        if self._parts:
            self._parts[-1].close()

    @property
    def written(self) -> list[Path]:
        return [path for part in self._parts for path in part.written]


def _named(result: Segmentation, name: str) -> Segmentation:
    """The same under a name of ours: those of two cameras may be equal."""
    return replace(result, frame=replace(result.frame, name=name))


def time_stamp() -> str:
    """Names what has no other name: date and time to the millisecond."""
    return datetime.now().strftime("%Y%m%d_%H%M%S_%f")[:-3]
