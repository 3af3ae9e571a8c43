"""A live run: cameras in, what they see out to viewers and recordings, until it is stopped or nothing more comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import cv2

from sapiens_stream.errors import FolderTaken, InputError, SapiensStreamError, cause
from sapiens_stream.frame import SourceInfo
from sapiens_stream.inference.engine import Engine
from sapiens_stream.live.camera import Camera
from sapiens_stream.live.inference import Inference
from sapiens_stream.live.metrics import Metrics
from sapiens_stream.live.recorder import Recorder, time_stamp
from sapiens_stream.live.scheduler import DueFrame, Scheduler
from sapiens_stream.pipeline.record import RunRecord
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.pipeline.run_log import LoggedRun, RunLog
from sapiens_stream.settings import RUN_FILE
from sapiens_stream.sinks.files import fitting
from sapiens_stream.text import encodable
from sapiens_stream.viewers.viewer import CameraView, Command, Screen, Viewer

LOOK_EVERY = 0.05  # seconds: how long a viewer's command may wait where no frame comes
SCREEN_EVERY = 1.0  # seconds: where no frame comes, its figures tell that


class LiveRun(LoggedRun):
    """Shows the newest frame of every camera in `viewers`, and gives what was shown to `recorder`.

    It ends after `duration` seconds, once `max_frames` were shown, when a viewer asks for it, and when every camera is
    finished. If anything is written, the record stands at `record_path`; it is kept current. What `RunFolder` says of
    other runs' results and of `overwrite` holds for its folder.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        engine: Engine,
        recorder: Recorder,
        *,
        record_path: Path,
        overwrite: bool = False,
        viewers: Sequence[Viewer] = (),
        propagate: bool = True,
        steady: bool = False,
        duration: float | None = None,
        max_frames: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.stopping = False
        self.lost_all_cameras = False
        """Whether that is why it failed."""
        self._changed = Event()
        self._cameras = cameras
        self._recorder = recorder
        self._viewers = viewers
        self._duration = duration
        self._max_frames = max_frames
        # What a viewer asks for is named by the time, and so may be the record of a run that has nothing else.
        by_time = fitting(record_path.parent, f"{record_path.name.removesuffix(RUN_FILE)}_{time_stamp()}", RUN_FILE)
        self._folder = RunFolder(record_path, recorder.planned, spare=by_time)
        names = ", ".join(camera.name for camera in cameras)
        record = RunRecord(source=SourceInfo(name=names, kind="live"), engine=engine, settings=settings or {})
        self._log = RunLog(record, self._folder, overwrite=overwrite)
        recorder.on_file = self._list_file
        self._inference = Inference(engine, cameras, self._changed.set, steady=steady)
        self._schedulers = [Scheduler(camera, self._inference, propagate=propagate) for camera in cameras]
        self.metrics = Metrics(cameras, engine, self._inference)
        self._views = [CameraView(camera=encodable(camera.name)) for camera in cameras]
        self._paused = self._quit = False
        self._stale_screen = True
        """Whether something but a new frame is to be shown."""
        self._screened = time.monotonic()

    def stop(self) -> None:
        """Ends the run: what is on its way is dropped, and the files are closed. Safe in a signal handler."""
        # Not `_changed` as well: the thread may hold that lock, and looks again soon in any case.
        self.stopping = True

    def abandon(self) -> None:
        """The same: of a live run nothing is waited for."""
        self.stop()

    def execute(self, on_screen: Callable[[Screen], None] | None = None) -> None:
        """Runs to the end; what happened is then in `status` and `error`. KeyboardInterrupt is raised again.

        `on_screen` is called with each screen, in this thread.
        """
        self._log.start()
        # A step shared by threads waits for the last of them to get a core, which the model has: for steps of a
        # millisecond that is seven times as long.
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            self._save_record()
            if self.error is None:
                for camera in self._cameras:
                    camera.start(self._on_camera)
                self._show_all(on_screen)
            self._fail_with(self._inference.error)
            self._log.come_to("interrupted" if self.stopping else "complete")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._log.fail(error)
        finally:
            cv2.setNumThreads(threads)
            self.metrics.stop()
            self._close()
            self._fail_without_cameras()
            self._fail_with(self._recorder.failure)
            self._end()

    @property
    def wrote(self) -> bool:
        """Whether there are files of it."""
        return self._recorder.writes

    def record(self) -> dict[str, Any]:
        """The record as it stands now, as JSON types."""
        recorded = self._recorder.as_dict()
        record = self._log.as_dict(self.metrics.statistics(recorded), self._recorder.files)
        return {**record, **self._inference.record(), "live": self.metrics.as_dict(recorded)}

    def _fail_with(self, error: BaseException | None) -> None:
        if error is not None:
            self._log.fail(error)

    def _fail_without_cameras(self) -> None:
        """Where each of them failed, or brought nothing, the run did."""
        problems = [problem for camera in self._cameras if (problem := camera.problem) is not None]
        if self.status == "complete" and len(problems) == len(self._cameras):
            self.lost_all_cameras = True
            self._log.fail(problems[0] if len(problems) == 1 else InputError("; ".join(map(cause, problems))))

    def _list_file(self, name: str, ending: str, size: int) -> None:
        self._folder.wrote(name, ending, size, name)
        self._folder.settle(name)

    def _on_camera(self) -> None:
        """In a camera's thread: its frame goes to the device without waiting for the one that shows."""
        self._inference.feed()
        self._changed.set()

    def _show_all(self, on_screen: Callable[[Screen], None] | None) -> None:
        while not self._over():
            self._changed.wait(self._patience())
            self._changed.clear()
            self._obey()
            while (screen := self._show_due()) is not None:
                if on_screen is not None:
                    on_screen(screen)
                if self._over():
                    break
            if self._log.is_due:
                self._save_record()

    def _over(self) -> bool:
        unwritten = self.error or self._recorder.failure
        failed = self._inference.error is not None or (unwritten is not None and not self._viewers)
        late = self._duration is not None and self.metrics.elapsed >= self._duration
        enough = self._max_frames is not None and self.metrics.shown >= self._max_frames
        return self.stopping or self._quit or failed or late or enough or all(each.over for each in self._schedulers)

    def _patience(self) -> float:
        """Seconds that nothing need be looked at if nothing happens."""
        now = time.monotonic()
        deadlines = (scheduler.deadline for scheduler in self._schedulers)
        return min([LOOK_EVERY, *(max(0.0, each - now) for each in deadlines if each is not None)])

    def _show_due(self) -> Screen | None:
        """Shows what is due, at most one frame of each camera; None if nothing is."""
        due = [scheduler.due() for scheduler in self._schedulers]
        views = [self._view(*each) for each in zip(self._cameras, self._views, due, strict=True)]
        now = time.monotonic()
        if views == self._views and not self._stale_screen and now - self._screened < SCREEN_EVERY:
            return None
        self._views, self._stale_screen, self._screened = views, False, now
        screen = Screen(
            views=views, figures=self.metrics.figures(), recording=self._recorder.recording, paused=self._paused
        )
        for viewer in self._viewers:
            viewer.show(screen)
        now = time.monotonic()
        for place, shown in enumerate(due):
            if shown is not None:
                self._cameras[place].count_shown(shown.result)
                self.metrics.delays.add(now, shown.delay(now))
                self._recorder.write(place, shown.result)
        return screen

    def _view(self, camera: Camera, before: CameraView, due: DueFrame | None) -> CameraView:
        latest = before.latest if due is None else due.result
        trouble = camera.trouble and encodable(camera.trouble)
        if latest is before.latest and trouble == before.trouble:
            return before
        carried = latest.carried if latest is not None else 0
        return CameraView(camera=before.camera, latest=latest, carried=carried, trouble=trouble)

    def _obey(self) -> None:
        for viewer in self._viewers:
            for command in viewer.commands():
                match command:
                    case Command.QUIT:
                        self._quit = True
                    case Command.LOST:
                        self._quit = self._quit or not (self._recorder.takes_all or len(self._viewers) > 1)
                    case Command.PAUSE:
                        self._pause()
                    case Command.SNAPSHOT:
                        self._recorder.snapshot([view.latest for view in self._views])
                    case Command.RECORD:
                        self._recorder.toggle()
                self._stale_screen = True

    def _pause(self) -> None:
        self._paused = not self._paused
        for camera, scheduler in zip(self._cameras, self._schedulers, strict=True):
            camera.paused = self._paused
            scheduler.clear()

    def _close(self) -> None:
        for camera in self._cameras:
            camera.close()
        self._inference.close()
        for scheduler in self._schedulers:
            scheduler.clear()
        self._recorder.close()

    def _save_record(self) -> None:
        if not self._recorder.writes:
            return
        try:
            self._log.claim()
            self._folder.require_present()
            self._log.save(self.record())
        except SapiensStreamError as error:
            self._log.fail(error)

    def _end(self) -> None:
        """Makes sure that what was written is there, and says so in the last record."""
        self._log.wait_for_checksum()
        if not self._recorder.writes or isinstance(self.error, FolderTaken):
            return
        with self._log.ending():
            self._log.claim()
            try:
                self._folder.finish([path for path in self._recorder.files if self.error is None or path.exists()])
                self._folder.require_complete()
            except SapiensStreamError as error:
                self._log.fail(error)
            self._log.save(self.record())
