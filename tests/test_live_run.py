"""Live runs: freshness, own and carried class maps, every frame accounted for, trouble, commands, recordings."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import torch

from sapiens_stream.classes import numbered
from sapiens_stream.errors import ModelError, OutputError
from sapiens_stream.frame import Frame, Segmentation, Skipped
from sapiens_stream.inference.closer import Closer
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.live import Camera, LiveRun, Recorder
from sapiens_stream.live.delays import Delay, Delays, Histogram
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.people import identity
from sapiens_stream.people.closer import closer_for
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.writers import Writers
from sapiens_stream.results.stored import stored_clips
from sapiens_stream.sinks import Outputs, Sink
from sapiens_stream.sources import Live
from sapiens_stream.viewers.viewer import Command, Screen, Viewer
from tests.media import make_video
from tests.senders import Sender
from tests.signals import ends_with_signals_in_locks

CAMERA = "lavfi:testsrc2=size=160x96:rate=30"
SOAK = "SAPIENS_STREAM_SOAK_SECONDS"


def halves(seconds: float = 0.0, fail_after: int | None = None) -> Model:
    """Says class 1 of the right half of every picture, after so many seconds."""
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1, :, 2:] = 1.0
    calls = []

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        calls.append(len(pixels))
        if fail_after is not None and len(calls) > fail_after:
            raise RuntimeError("the graph broke")
        return logits.expand(len(pixels), -1, -1, -1)

    return Model(
        name="halves",
        kind="test",
        classes=numbered(3),
        input=InputSpec(height=8, width=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        logits_size=(4, 4),
        place=lambda device, dtype: forward,
    )


class Watcher(Viewer):
    """Keeps what it is shown, without the pictures, and asks for commands after a number of screens."""

    def __init__(self, orders: dict[int, Command] | None = None) -> None:
        self.orders = orders or {}
        self.shown: list[list[tuple[int, int]]] = []
        """For each screen the index and the age of each camera's frame; (-1, 0) where there is none."""
        self.screens: list[Screen] = []
        self.closed = False

    def show(self, screen: Screen) -> None:
        self.screens.append(screen)
        latest = [(view.latest.frame.index, view.carried) if view.latest else (-1, 0) for view in screen.views]
        self.shown.append(latest)

    def commands(self) -> list[Command]:
        due = [at for at in self.orders if at <= len(self.screens)]
        return [self.orders.pop(at) for at in due]

    def close(self) -> None:
        self.closed = True


class Setting:
    """A run on cameras, as the command puts it together."""

    def __init__(
        self,
        folder: Path,
        *addresses: str,
        model: Model | None = None,
        orders: dict[int, Command] | None = None,
        video: Path | None = None,
        save: frozenset[str] = frozenset(),
        device: str = "cpu",
        closer: Callable[[torch.device], Closer] | None = None,
        **settings: object,
    ) -> None:
        self.complaints: list[str] = []
        self.watcher = Watcher(orders)
        self.cameras = [Camera(partial(Live, address, realtime=True)) for address in addresses or (CAMERA,)]
        model = model or halves()
        outputs = Outputs(overlay_file=video, save=save, preset="superfast", audio="none")
        self.recorder = Recorder(outputs, folder, self.cameras, model, self.complaints.append)
        self.record_path = self.recorder.record_path
        self.run = LiveRun(
            self.cameras,
            Engine(model, InferenceOptions(device=device), closer=closer, warn=self.complaints.append),
            self.recorder,
            record_path=self.record_path,
            viewers=[self.watcher],
            **settings,  # type: ignore[arg-type]
        )

    def execute(self, on_screen: Callable[[Screen], None] | None = None) -> dict[str, object]:
        """Runs to the end; the part of the record about live runs, whose sum has to come out even."""
        self.run.execute(on_screen)
        live = self.run.record()["live"]
        assert live["received"] == live["shown"] + live["dropped"], live
        for camera in live["cameras"]:
            assert camera["received"] == camera["shown"] + camera["dropped"], camera
        assert live["shown"] == sum(camera["shown"] for camera in live["cameras"])
        for place in range(len(self.cameras)):
            indices = [latest[place][0] for latest in self.watcher.shown]
            assert indices == sorted(indices), "an older frame was shown after a newer one"
        return live  # type: ignore[no-any-return]


def test_people_keep_their_ids_on_frames_that_the_model_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "PATIENCE", Fraction(60))  # a busy machine may look once in some seconds
    quick = load_builtin(shape=(192, 320))

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        forward = quick.place(device, dtype)

        def slowly(pixels: torch.Tensor) -> torch.Tensor:
            time.sleep(0.1)
            return forward(pixels)

        return slowly

    clip = Path(__file__).parents[1] / "samples" / "people.mp4"
    address = f"lavfi:movie={clip}:loop=0,setpts=N/5/TB,scale=320:180,fps=25"  # slow people
    model = replace(quick, place=place, runner=None)
    closer = closer_for(model, InferenceOptions(people="builtin"))
    setting = Setting(tmp_path, address, model=model, closer=closer, max_frames=1000)
    carried: list[Segmentation] = []

    def look(screen: Screen) -> None:
        carried.extend(view.latest for view in screen.views if view.latest and view.carried and view.latest.people)
        if len(carried) >= 20:
            setting.run.stop()

    setting.execute(look)
    assert carried
    for result in carried:
        assert result.person_map is not None and not result.person_map[result.class_map == 0].any()
        assert {person.id for person in result.people or ()} == set(np.unique(result.person_map).tolist()) - {0}
    first, last = ({person.id for person in result.people or ()} for result in (carried[0], carried[-1]))
    assert len(first & last) > 1


class TestDelays:
    def test_quantiles_are_true_to_a_hundredth(self) -> None:
        values = np.random.default_rng(0).lognormal(-4, 1, 20_000)
        histogram = Histogram()
        for value in values:
            histogram.add(float(value))
        for share in (0.05, 0.5, 0.95, 1.0):
            assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.012)
        assert Histogram().quantile(0.5) is None

    def test_the_window_forgets_and_the_whole_does_not(self) -> None:
        delays = Delays()
        for second in range(100):
            slow = second < 90
            delays.add(float(second), Delay(0.001, 0.002, 0.5 if slow else 0.01, 0.003))
        assert delays.recent(0.5) == pytest.approx(16) and delays.per_second(99.0) == pytest.approx(1.0)
        assert dict(delays.recent_parts()) == pytest.approx({"decode": 1, "wait": 2, "infer": 10, "draw": 3})
        assert delays.as_dict()["total"]["median"] == pytest.approx(506, rel=0.02)


class TestFreshness:
    def test_a_fast_model_gives_each_frame_its_own_map(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, "lavfi:testsrc2=size=160x96:rate=10", model=halves(0.003), max_frames=25)
        live = setting.execute()
        own = [age for [(_, age)] in setting.watcher.shown if not age]
        assert len(own) > 18, live
        [view] = setting.watcher.screens[-1].views
        assert view.latest is not None
        if not view.carried:
            assert (view.latest.class_map[:, 90:] == 1).all() and not view.latest.class_map[:, :50].any()

    def test_a_slow_model_is_carried_along_at_the_rate_of_the_camera(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, model=halves(0.3), duration=3.0)
        live = setting.execute()
        assert live["shown"] > 50 and live["inferred"] < 12, live
        assert live["carried_share"] > 0.8
        ages = [age for [(_, age)] in setting.watcher.shown]
        assert 8 <= max(ages) < 40, "a map is carried until the next one is there, and no longer"
        assert (live["delay_ms"]["total"]["median"] or 1e9) < 150  # type: ignore[index]

    def test_steady_maps_under_load_account_for_every_frame(self, tmp_path: Path) -> None:
        """Two cameras on a model slower than either, each with its own past."""
        setting = Setting(tmp_path, CAMERA, CAMERA, model=halves(0.05), max_frames=40, steady=True)
        live = setting.execute()
        assert live["shown"] >= 40 and live["inferred"] >= 1 and not setting.complaints
        for view in (view for screen in setting.watcher.screens for view in screen.views if view.latest):
            if not view.carried:
                assert set(np.unique(view.latest.class_map[:, 100:])) == {1}

    def test_without_propagation_only_what_the_model_has_seen_is_shown(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, model=halves(0.2), duration=2.5, propagate=False)
        live = setting.execute()
        assert 5 <= live["shown"] <= 13 and live["carried"] == 0, live
        assert {age for [(_, age)] in setting.watcher.shown} == {0}
        assert live["delay_ms"]["infer"]["median"] >= 190  # type: ignore[index]

    def test_the_parts_make_up_the_delay(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, model=halves(0.05), max_frames=20, propagate=False)
        setting.execute()
        figures = setting.run.metrics.figures()
        assert [name for name, _ in figures.parts_median] == ["decode", "wait", "infer", "draw"]
        assert figures.delay_median is not None and figures.delay_median >= dict(figures.parts_median)["infer"] >= 50

    def test_a_file_at_its_own_speed_is_shown_to_its_end(self, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=20)
        setting = Setting(tmp_path, str(clip), duration=30.0)
        start = time.monotonic()
        live = setting.execute()
        assert setting.run.status == "complete" and live["received"] == 20
        assert 0.5 < time.monotonic() - start < 10

    @pytest.mark.skipif(sys.platform != "linux", reason="here names of files are Unicode")
    def test_names_that_are_no_text_are_shown_escaped(self, tmp_path: Path) -> None:
        clip = tmp_path / os.fsdecode(b"caf\xe9.mp4")
        make_video(tmp_path / "clip.mp4", frames=10).rename(clip)
        setting = Setting(tmp_path, str(clip), model=replace(halves(), name=os.fsdecode(b"\xff")), duration=30.0)
        setting.execute()
        screen = setting.watcher.screens[-1]
        assert (Path(screen.views[0].camera).name, screen.figures.model) == (r"caf\udce9.mp4", r"\udcff")


class TestSeveralCameras:
    def test_one_that_dies_does_not_touch_the_others_and_is_not_inferred_again(self, tmp_path: Path) -> None:
        with Sender("tcp") as sender:
            setting = Setting(tmp_path, CAMERA, sender.url, model=halves(0.01), duration=20.0)
            dying = setting.cameras[1]
            after_death: list[tuple[int, int]] = []

            def watch(screen: Screen) -> None:
                if dying.shown >= 10:
                    sender.kill()
                if screen.views[1].trouble:
                    after_death.append((setting.cameras[0].shown, dying.inferences))
                if len(after_death) > 40:
                    setting.run.stop()

            setting.execute(watch)
        shown, inferred = zip(*after_death, strict=True)
        assert shown[-1] - shown[0] >= 30 and inferred[-1] == inferred[20]
        last = setting.watcher.screens[-1].views[1]
        assert last.trouble and last.latest is not None, "the last picture stays, marked"
        assert [event.kind for _, event in dying.events][:2] == ["lost", "reconnecting"]

    def test_one_that_comes_back_in_another_size_is_shown_and_recorded_again(self, tmp_path: Path) -> None:
        with Sender("tcp") as sender:
            setting = Setting(tmp_path, sender.url, duration=30.0, video=tmp_path / "cam.mp4")
            [camera] = setting.cameras
            state = {"killed": False, "shown": 0}

            def watch(screen: Screen) -> None:
                if camera.shown >= 10 and not state["killed"]:
                    state["killed"] = True
                    sender.kill()
                    sender.start((64, 120))
                if camera.reconnects and screen.views[0].trouble is None:
                    state["shown"] += 1
                if state["shown"] > 10:
                    setting.run.stop()

            setting.execute(watch)
        assert camera.reconnects == 1 and setting.run.status == "interrupted"
        [view] = setting.watcher.screens[-1].views
        assert view.latest is not None and view.latest.class_map.shape == (64, 120) == view.latest.frame.size
        kinds = dict.fromkeys(event.kind for _, event in camera.events)  # it may take several tries
        assert list(kinds) == ["lost", "reconnecting", "back", "resized"]
        sizes = {}
        for name in ("cam.mp4", "cam_2.mp4"):
            with av.open(str(tmp_path / name)) as container:
                frame = next(container.decode(video=0))
                sizes[name] = (frame.height, frame.width)
        assert sizes == {"cam.mp4": (96, 160), "cam_2.mp4": (64, 120)}


class TestCommands:
    def test_pause_record_snapshot_and_quit(self, tmp_path: Path) -> None:
        orders = {
            10: Command.RECORD,
            40: Command.RECORD,
            41: Command.SNAPSHOT,
            50: Command.PAUSE,
            51: Command.PAUSE,
            60: Command.QUIT,
        }
        setting = Setting(tmp_path, orders=orders, duration=30.0, model=halves(0.2))
        setting.execute()
        assert setting.run.status == "complete" and setting.run.metrics.elapsed < 25
        [video] = tmp_path.glob("live_*.mp4")
        with av.open(str(video)) as container:
            assert 15 <= sum(1 for _ in container.decode(video=0)) <= 32
        [snapshot] = tmp_path.glob("snapshot_*.json")
        stem = snapshot.name.removesuffix(".json")
        assert {path.name for path in tmp_path.glob("snapshot_*")} == {
            f"{stem}.json", f"{stem}.png", f"{stem}_seg.npy"
        }  # fmt: skip
        assert np.load(tmp_path / f"{stem}_seg.npy").shape == (96, 160)
        assert any(screen.paused for screen in setting.watcher.screens)
        assert json.loads(setting.record_path.read_text())["outputs"] == [str(video)]

    def test_a_signal_handler_may_stop_it_at_any_moment(self, tmp_path: Path) -> None:
        run = Setting(tmp_path, duration=30.0).run
        assert ends_with_signals_in_locks(lambda begin: run.execute(lambda screen: begin()), run.stop)
        assert run.status == "interrupted" and run.error is None

    def test_snapshots_of_one_moment_are_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sapiens_stream.live.recorder.time_stamp", lambda: "20260102_030405_678")
        setting = Setting(tmp_path, orders={10: Command.SNAPSHOT, 11: Command.SNAPSHOT, 20: Command.QUIT})
        live = setting.execute()
        assert setting.run.status == "complete" and live["recorded"] == {"snapshots": {"written": 1, "dropped": 0}}
        assert len(list(tmp_path.glob("snapshot_*"))) == 3

    @pytest.mark.parametrize("written", ["video", "save", "recording", ""])
    def test_a_viewer_that_is_lost_ends_what_nobody_else_takes(self, tmp_path: Path, written: str) -> None:
        orders = {10: Command.LOST} | ({5: Command.RECORD} if written == "recording" else {})
        setting = Setting(
            tmp_path,
            orders=dict(sorted(orders.items())),
            max_frames=40,
            video=tmp_path / "video.mp4" if written == "video" else None,
            save=frozenset({"jsonl"} if written == "save" else ()),
        )
        setting.execute()
        assert setting.run.status == "complete"
        assert (len(setting.watcher.screens) >= 40) == bool(written)

    def test_paused_frames_are_dropped_and_counted(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, orders={10: Command.PAUSE}, duration=2.0)
        live = setting.execute()
        assert live["shown"] < 20 and live["dropped"] > 20, live


class TestRecording:
    def test_what_was_shown_with_its_times(self, tmp_path: Path) -> None:
        kinds = frozenset({"classes", "json"})
        setting = Setting(tmp_path, model=halves(0.2), video=tmp_path / "cam.mp4", save=kinds, max_frames=40)
        live = setting.execute()
        record = json.loads(setting.record_path.read_text())
        assert setting.record_path.name == "cam_run.json" and record["status"] == "complete"
        assert record["outputs"] == [str(tmp_path / "cam.mp4")] and not setting.complaints
        recorded = live["recorded"]
        assert recorded["video"]["written"] + recorded["video"]["dropped"] == live["shown"]  # type: ignore[index]
        indices = [index for [(index, _)] in setting.watcher.shown if index >= 0]
        with av.open(str(tmp_path / "cam.mp4")) as container:
            times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        if not recorded["video"]["dropped"]:  # type: ignore[index]
            expected = [Fraction(index - indices[0], 30) for index in dict.fromkeys(indices)]
            assert times == pytest.approx(expected, abs=0.002)
        found = [json.loads(path.read_text()) for path in sorted((tmp_path / "cam").glob("*.json"))]
        assert len(found) == recorded["frames"]["written"]  # type: ignore[index]
        assert record["frames"]["written"] == max(len(times), len(found))
        ages = {each["frame"]: each.get("carried", 0) for each in found}
        shown = {index: age for [(index, age)] in setting.watcher.shown}
        assert ages.items() <= shown.items() and any(ages.values())
        assert np.load(next((tmp_path / "cam").glob("*_seg.npy"))).shape == (96, 160)

    def test_several_cameras_and_a_change_of_size_have_files_of_their_own(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, CAMERA, CAMERA, video=tmp_path / "two.mkv")
        for index, size in enumerate([(96, 160)] * 3 + [(64, 64)] * 3):
            frame = Frame(
                index=index,
                name="x",
                decoded=np.full((*size, 3), 99, np.uint8),
                pts=3000 * index,
                time_base=Fraction(1, 90_000),
            )
            result = Segmentation(frame=frame, class_map=np.ones(size, np.uint8), classes=numbered(3))
            setting.recorder.write(0, result)
            if index < 3:
                setting.recorder.write(1, result)
        setting.recorder.close()
        sizes = {}
        for path in tmp_path.glob("*.mkv"):
            with av.open(str(path)) as container:
                frames = list(container.decode(video=0))
                sizes[path.name] = (frames[0].height, frames[0].width, len(frames))
        assert sizes == {"two_cam1.mkv": (96, 160, 3), "two_cam1_2.mkv": (64, 64, 3), "two_cam2.mkv": (96, 160, 3)}

    def test_all_class_maps_are_read_back_also_of_another_size_and_none_that_was_left_out_is_missed(
        self, tmp_path: Path
    ) -> None:
        clip, out = tmp_path / "clip.ts", tmp_path / "out"
        parts = [make_video(tmp_path / f"{size[0]}.ts", frames=12, size=size) for size in ((96, 160), (64, 64))]
        clip.write_bytes(b"".join(part.read_bytes() for part in parts))
        setting = Setting(out, str(clip), save=frozenset({"labels"}), duration=30.0)
        setting.execute()
        record = json.loads(setting.record_path.read_text())
        written = record["frames"]["written"]
        record["frames"]["written"] += 1  # as a recording beside it has where the disk of the class maps is slow
        setting.record_path.write_text(json.dumps(record))
        skipped: list[Skipped] = []
        sizes = [frame.size for stored in stored_clips(out) for frame in stored.frames(skipped.append)]
        assert (len(sizes), skipped) == (written, [])
        assert set(sizes) == {(96, 160), (64, 64)}

    def test_a_slow_disk_drops_and_does_not_hold_up(self) -> None:
        sink = SlowSink(0.02)
        writers = Writers([sink], Statistics(), when_full="drop", on_failure=pytest.fail)
        start = time.monotonic()
        for index in range(100):
            writers.write(result_of(index))
        assert time.monotonic() - start < 0.5
        writers.close()
        written = writers.statistics.written
        assert written + writers.dropped == 100 and written == len(sink.indices) < 50
        assert sink.indices == sorted(sink.indices) and sink.indices[-1] == 99 and sink.closed

    def test_a_full_disk_ends_the_recording_and_not_the_picture(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        setting = Setting(tmp_path, save=frozenset({"json"}), max_frames=40)
        (tmp_path / "live").write_text("no folder")
        live = setting.execute()
        assert live["shown"] >= 40 and len(setting.complaints) == 1 and "live" in setting.complaints[0]
        assert isinstance(setting.run.error, OutputError) and setting.run.status == "failed"


class SlowSink(Sink):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.indices, self.closed = seconds, list[int](), False

    def write(self, result: Segmentation) -> None:
        time.sleep(self.seconds)
        self.indices.append(result.frame.index)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return 1

    def close(self) -> None:
        self.closed = True


def result_of(index: int) -> Segmentation:
    frame = Frame(index=index, name="x", decoded=np.zeros((4, 4, 3), np.uint8))
    return Segmentation(frame=frame, class_map=np.zeros((4, 4), np.uint8), classes=numbered(3))


def test_a_model_that_fails_ends_the_run(tmp_path: Path) -> None:
    setting = Setting(tmp_path, model=halves(0.01, fail_after=5), duration=30.0)
    setting.execute()
    assert setting.run.status == "failed" and isinstance(setting.run.error, ModelError)
    assert setting.run.metrics.elapsed < 20


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    """Twenty seconds, or as many as the environment says: memory flat, delay not growing, every frame accounted for."""
    seconds = float(os.environ.get(SOAK, "20"))
    setting = Setting(
        tmp_path,
        "lavfi:testsrc2=size=640x480:rate=30",
        "lavfi:testsrc=size=320x240:rate=10",
        model=halves(0.1),
        duration=seconds,
        video=tmp_path / "soak.mp4",
    )
    process = psutil.Process()
    sizes: list[int] = []
    delays: list[float] = []

    def watch(screen: Screen) -> None:
        setting.watcher.screens.clear()
        if setting.run.metrics.elapsed > (len(sizes) + 1) * seconds / 20:
            sizes.append(process.memory_info().rss)
            delays.append(screen.figures.delay_median or 0.0)

    live = setting.execute(watch)
    print(f"{live['shown']} shown, {live['dropped']} dropped; MB {[size >> 20 for size in sizes]}; ms {delays}")
    assert live["shown"] > 5 * seconds, live
    early, late = max(sizes[5:10]), max(sizes[-5:])
    assert late - early < 20_000_000, [size >> 20 for size in sizes]
    assert np.median(delays[-5:]) < 2 * np.median(delays[5:10]) + 30, delays
