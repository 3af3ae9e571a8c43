"""What a live run writes: recordings, class maps and JSON of what was shown, and snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Lock

from sapiens_stream.errors import SapiensStreamError, cause
from sapiens_stream.frame import Segmentation
from sapiens_stream.live.background import step_back
from sapiens_stream.live.camera import Camera
from sapiens_stream.live.file_per_size import FilePerSize
from sapiens_stream.models.model import Model
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.writers import Writers
from sapiens_stream.settings import MOST_FRAMES, RUN_FILE, frame_name
from sapiens_stream.sinks import Outputs, Sink, container_for, registry
from sapiens_stream.sinks.registry import OutputKind, Target
from sapiens_stream.sinks.video.encoders import require_working

SNAPSHOT = (("overlay", "frames"), ("save", "classes"), ("save", "json"))
"""What is written of a moment."""


class Recorder:
    """Writes for every camera, each file in a thread of its own that the run never waits for.

    An `overlay_file` of the outputs is begun at once; without one the overlay is recorded when it is asked for. All
    other outputs are written of every frame, into `folder`, where recordings that are begun later go too. With several
    cameras a name ends in the camera's place: NAME_cam1, NAME_cam2. `warn` is called at once with what fails; the first
    failure is kept in `failure`. Raises UsageError for an encoder that is not there.
    """

    def __init__(
        self,
        outputs: Outputs,
        folder: Path,
        cameras: Sequence[Camera],
        model: Model,
        warn: Callable[[str], None],
    ) -> None:
        require_working(outputs.codec)
        self.failure: BaseException | None = None
        self.on_file: Callable[[str, str, int], None] = lambda name, ending, size: None
        """Called for each frame's file as `Sink.on_file` is, by its name below the record's folder."""
        first = outputs.overlay_file
        self.stem = first.stem if first else "live"
        """Names the run: its record, and the folder of its frames."""
        self.record_path = (first.parent if first else folder) / f"{self.stem}{RUN_FILE}"
        """The run record, beside the recording if there is one."""
        self._outputs = outputs
        self._folder = folder
        self._cameras = cameras
        self._warn = warn
        self._lock = Lock()
        self._painter = outputs.painter(model.classes)
        self._kinds = [kind for kind in outputs.kinds if kind.option != "overlay"]
        self._videos: list[Writers] = []
        self._saved = (
            [self._writers_of([self._sink(kind, camera) for kind in self._kinds]) for camera in range(len(cameras))]
            if self._kinds
            else []
        )
        self._snapshots: list[Writers] = []
        self._snapshot = ""
        self._done: list[Writers] = []
        if first is not None:
            self._begin(first)

    @property
    def planned(self) -> FileList:
        """The files below the record's folder that are certain to come."""
        files, root = FileList(), self.record_path.parent
        endings = [kind.ending_for(self._outputs) for kind in self._kinds if not kind.spans]
        for camera in range(len(self._cameras)):
            paths = [self._path(kind, camera) for kind in self._kinds if kind.spans]
            if (first := self._outputs.overlay_file) is not None:
                paths.append(first.with_stem(self._for_camera(first.stem, camera)))
            for path in paths:
                if path.is_relative_to(root):
                    files.add_single(path.relative_to(root).as_posix())
            if endings and self._folder.is_relative_to(root):
                name = self._folder.relative_to(root) / frame_name(self._for_camera(self.stem, camera), 0)
                files.claim(name.as_posix(), MOST_FRAMES - 1, endings)
        return files

    @property
    def folders(self) -> list[Path]:
        """The folder, or folders, that hold what is written; one unless the user named two."""
        return list(dict.fromkeys([self.record_path.parent, *([self._folder] if self._kinds else [])]))

    @property
    def recording(self) -> bool:
        """Whether a recording is going on."""
        return any(video.failure is None for video in self._videos)

    @property
    def takes_all(self) -> bool:
        """Whether all that is shown is written too."""
        return self.recording or bool(self._saved)

    def write(self, camera: int, result: Segmentation) -> None:
        """Takes what was shown of a camera, by its place; returns at once."""
        if self._videos:
            self._videos[camera].write(result)
        if self._saved:
            name = frame_name(self._for_camera(self.stem, camera), result.frame.index)
            self._saved[camera].write(_named(result, name))

    def toggle(self) -> None:
        """Begins a recording, named by the time, or ends the one that is going on."""
        begins = not self.recording
        self._end_videos()
        if begins:
            first = self._outputs.overlay_file or self._folder / f"live{container_for(self._outputs.codec)}"
            self._begin(first.with_stem(f"{first.stem}_{time_stamp()}"))

    def snapshot(self, latest: Sequence[Segmentation | None]) -> None:
        """Writes what is shown of each camera: picture, class map and JSON, named by the time; returns at once.

        Two that are asked for in the same moment are one.
        """
        name = f"snapshot_{time_stamp()}"
        if name == self._snapshot:
            return
        self._snapshot = name
        if not self._snapshots:
            sinks = [self._sink(registry.kind(option, word), 0) for option, word in SNAPSHOT]
            self._snapshots = [self._writers_of(sinks)]
        for camera, result in enumerate(latest):
            if result is not None:
                self._snapshots[0].write(_named(result, self._for_camera(name, camera)))

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
        planned = self._outputs.overlay_file is not None or bool(self._kinds)
        return planned or any(writer.statistics.written for writer in self._writers)

    @property
    def files(self) -> list[Path]:
        """The files that span many frames and are finished: recordings, and what else was asked for."""
        return [path for writer in [*self._done, *self._saved] for path in writer.files]

    def as_dict(self) -> dict[str, dict[str, int]]:
        """For the run record, as JSON types: frames written, and left out because the disk or encoder fell behind."""
        kinds = {"video": [*self._done, *self._videos], "frames": self._saved, "snapshots": self._snapshots}
        return {
            kind: {
                "written": sum(writer.statistics.written for writer in writers),
                "dropped": sum(writer.dropped for writer in writers),
            }
            for kind, writers in kinds.items()
            if writers
        }

    @property
    def _writers(self) -> list[Writers]:
        return [*self._done, *self._videos, *self._saved, *self._snapshots]

    def _begin(self, path: Path) -> None:
        video = registry.kind("overlay", "video")
        self._videos = [
            self._writers_of([self._spanning(video, path.with_stem(self._for_camera(path.stem, camera)), camera)])
            for camera in range(len(self._cameras))
        ]

    def _writers_of(self, sinks: Sequence[Sink]) -> Writers:
        """What they cannot keep up with is left out, never waited for."""
        return Writers(sinks, Statistics(), when_full="drop", on_failure=self._fail, on_start=step_back)

    def _end_videos(self) -> None:
        for video in self._videos:
            video.end()
        self._done += self._videos
        self._videos = []

    def _sink(self, kind: OutputKind, camera: int) -> Sink:
        """Opens what is written of every frame of a camera."""
        if kind.spans:
            return self._spanning(kind, self._path(kind, camera), camera)
        sink = kind.open(self._outputs, self._target(self._folder, camera))
        sink.on_file = self._tell_file
        return sink

    def _spanning(self, kind: OutputKind, path: Path, camera: int) -> Sink:
        def begin(part: int) -> Sink:
            own = path if part == 1 else path.with_stem(f"{path.stem}_{part}")
            return kind.open(self._outputs, self._target(own, camera))

        return FilePerSize(begin) if kind.one_size else begin(1)

    def _path(self, kind: OutputKind, camera: int) -> Path:
        return self._outputs.path(kind, self._folder, self._for_camera(self.stem, camera))

    def _target(self, path: Path, camera: int) -> Target:
        return Target(
            path=path,
            source=self._cameras[camera].source.info,
            painter=self._painter,
            colouring=self._outputs.colouring,
            warn=self._warn,
        )

    def _tell_file(self, name: str, ending: str, size: int, own: str) -> None:
        root, folder = self.record_path.parent, self._folder
        if folder.is_relative_to(root):
            self.on_file((folder.relative_to(root) / own).as_posix(), ending, size)

    def _for_camera(self, name: str, camera: int) -> str:
        return name if len(self._cameras) == 1 else f"{name}_cam{camera + 1}"

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            first, self.failure = self.failure is None, self.failure or error
        if first:
            self._warn(cause(error) if isinstance(error, SapiensStreamError) else f"not written: {cause(error)}")


def _named(result: Segmentation, name: str) -> Segmentation:
    """The same under a name of ours: those of two cameras may be equal."""
    return replace(result, frame=replace(result.frame, name=name))


def time_stamp() -> str:
    """Names what has no other name: date and time to the millisecond."""
    return datetime.now().strftime("%Y%m%d_%H%M%S_%f")[:-3]
