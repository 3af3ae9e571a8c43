"""What hangs is given up and named, the next input is begun, and what is merely slow is waited for."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sapiens_stream.errors import DeviceError, Stalled
from sapiens_stream.frame import Segmentation
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.batch import Batch, BatchInput, Turn
from sapiens_stream.pipeline.processor_time import clock_with_libraries
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.watchdog import FIRST, SLOWEST, Activity, Pace
from tests.media import make_video
from tests.program import WAIT, finish, start, wait_for
from tests.test_pipeline import NumberedSource, Recorder, engine, level_model

TIMEOUT = 0.5  # seconds, of the tests' own watchdogs
FAST = ("--preset", "ultrafast", "--save", "json", "--shape", 64, 64)


class TestActivity:
    """Ages are counted by whoever looks, so that the tests need not wait."""

    def test_a_stage_that_does_not_move_hangs_after_the_timeout(self) -> None:
        activity = Activity()
        activity.enter("decode")
        assert activity.look(59, 60) is None
        hang = activity.look(1, 60)
        assert hang is not None and str(hang) == "decoding has hung for 60 s"

    def test_what_is_left_or_not_begun_does_not(self) -> None:
        activity = Activity()
        with activity.at("encode"):
            pass
        assert activity.look(1000, 60) is None

    def test_each_stage_counts_for_itself(self) -> None:
        activity = Activity()
        activity.enter("write")
        for _ in range(5):
            with activity.at("decode"):
                assert activity.look(10, 60) is None
        hang = activity.look(10, 60)
        assert hang is not None and hang.stage == "write"

    @pytest.mark.parametrize("stage", ["open", "decode"])
    def test_what_comes_of_the_source_is_a_sign_of_life_of_its_own_stages(self, stage: str) -> None:
        activity = Activity()
        activity.enter(stage)
        activity.enter("write")
        activity.look(59, 60)
        activity.beat()
        hang = activity.look(1, 60)
        assert hang is not None and hang.stage == "write"

    def test_a_model_that_computes_is_waited_for_however_slow_it_is(self) -> None:
        used = 0.0
        activity = Activity()
        activity.enter("infer", lambda: used)
        for _ in range(100):
            used += 0.1
            assert activity.look(38, 60) is None
        assert activity.look(38, 60) is None
        assert activity.look(38, 60) is not None

    def test_files_that_are_closed_are_waited_for_while_somebody_computes(self) -> None:
        used: float | None = 0.0
        activity = Activity()
        activity.enter("close", lambda: used)
        for _ in range(100):
            used += 0.1
            assert activity.look(38, 60) is None
        used = None  # of a system that does not tell
        assert activity.look(1e6, 60) is None
        used = 10.0
        assert str(activity.look(1, 60)).startswith("closing its files has hung")

    def test_where_its_work_cannot_be_seen_it_is_measured_by_itself(self) -> None:
        activity = Activity(Pace(longest=38.0))
        activity.enter("infer", lambda: None)
        assert activity.look(38.0 * SLOWEST - 1, 60) is None
        assert activity.look(1, 60) is not None

    def test_the_first_takes_longer_there(self) -> None:
        activity = Activity()
        activity.enter("infer", lambda: None)
        assert activity.look(60.0 * FIRST - 1, 60) is None
        assert activity.look(1, 60) is not None

    def test_waits_for_the_model_are_remembered(self) -> None:
        pace = Pace()
        activity = Activity(pace)
        with activity.at("infer"):
            time.sleep(0.02)
        assert 0.02 <= pace.longest < WAIT


class Seen:
    """Keeps what became of the inputs of a batch."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.most = 0
        self.running = 0
        self._lock = threading.Lock()

    def begun(self, turn: Turn) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)

    def moved(self, turn: Turn, statistics: Statistics) -> None:
        pass

    def ended(self, turn: Turn) -> None:
        with self._lock:
            self.running -= turn.run is not None
            self.turns.append(turn)

    def looked(self) -> None:
        pass

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return sorted((turn.what.name, str(turn.error or (turn.run and turn.run.status))) for turn in self.turns)


class Stuck(NumberedSource):
    """Hangs at a frame until it is let go."""

    def __init__(self, count: int, at: int, let_go: threading.Event) -> None:
        super().__init__(count)
        self._at, self._let_go = at, let_go

    def frames(self):  # type: ignore[no-untyped-def]
        for frame in super().frames():
            if frame.index == self._at:
                self._let_go.wait(WAIT)
            yield frame


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def of(name: str, make: Callable[[Activity], Run]) -> BatchInput:
    @contextmanager
    def begin(activity: Activity) -> Iterator[Run]:
        yield make(activity)

    return BatchInput(name, name, begin)


@pytest.mark.skipif(sys.platform != "linux", reason="the processor time of single threads")
def test_a_thread_and_its_libraries_are_timed_without_other_threads_of_python() -> None:
    ending = threading.Event()
    other = threading.Thread(target=lambda: [hashlib.sha256(bytes(1 << 20)) for _ in iter(ending.is_set, True)])
    clock = clock_with_libraries()
    other.start()
    try:
        began, whole = clock(), time.process_time()
        while time.process_time() - whole < 0.3:
            time.sleep(0.01)
        beside = clock()
        own = time.thread_time()
        while time.thread_time() - own < 0.3:
            pass
        after = clock()
        assert began is not None and beside is not None and after is not None
        assert beside - began < 0.1 and after - beside > 0.1
    finally:
        ending.set()
        other.join()


class TestBatch:
    def test_a_decoder_that_hangs_costs_its_input_alone(self, let_go: threading.Event) -> None:
        model = engine()
        written = Recorder(ordered=True)
        inputs = [
            of("good", lambda activity: Run(NumberedSource(5), model, [Recorder(ordered=True)], activity=activity)),
            of("stuck", lambda activity: Run(Stuck(9, 4, let_go), model, [written], activity=activity)),
            of("after", lambda activity: Run(NumberedSource(5), model, [Recorder(ordered=True)], activity=activity)),
        ]
        seen = Seen()
        Batch(seen, stall_timeout=TIMEOUT).execute(enumerate(inputs))
        assert seen.outcomes[:2] == [("after", "complete"), ("good", "complete")]
        assert seen.outcomes[2][1].startswith("stuck: decoding has hung for 0.")
        assert written.indices == list(range(len(written.indices))) and written.closed == 1

    def test_a_sink_that_hangs_does_too(self, let_go: threading.Event) -> None:
        class Slow(Recorder):
            def write(self, result: object) -> None:
                let_go.wait(WAIT)

        model = engine()
        inputs = [
            of("stuck", lambda activity: Run(NumberedSource(9), model, [Slow(ordered=True)], activity=activity)),
            of("after", lambda activity: Run(NumberedSource(5), model, [Recorder(ordered=True)], activity=activity)),
        ]
        seen = Seen()
        Batch(seen, stall_timeout=TIMEOUT).execute(enumerate(inputs))
        assert [name for name, _ in seen.outcomes] == ["after", "stuck"]
        assert "encoding has hung" in seen.outcomes[1][1]

    @pytest.mark.skipif(sys.platform != "linux", reason="the processor time of single threads")
    def test_an_encoder_that_computes_is_waited_for(self) -> None:
        patience = 4 * TIMEOUT  # in which a busy machine, too, gives it a moment

        class Slow(Recorder):
            def write(self, result: Segmentation) -> None:
                if not self.indices:
                    began = time.thread_time()
                    while time.thread_time() - began < 1.5 * patience:
                        pass
                super().write(result)

        model, slow = engine(), Slow(ordered=True)
        seen = Seen()
        run = of("slow", lambda activity: Run(NumberedSource(5), model, [slow], activity=activity))
        Batch(seen, stall_timeout=patience).execute([(0, run)])
        assert seen.outcomes == [("slow", "complete")] and slow.indices == list(range(5))

    @pytest.mark.skipif(sys.platform != "linux", reason="the processor time of single threads")
    def test_a_sink_that_hangs_as_it_is_closed_does_too(self, let_go: threading.Event) -> None:
        class Slow(Recorder):
            def close(self) -> None:
                let_go.wait(WAIT)

        model, other = engine(), Recorder(ordered=True)
        inputs = [
            of("stuck", lambda activity: Run(NumberedSource(9), model, [Slow(ordered=True)], activity=activity)),
            of("after", lambda activity: Run(NumberedSource(5), model, [other], activity=activity)),
        ]
        seen = Seen()
        Batch(seen, stall_timeout=TIMEOUT).execute(enumerate(inputs))
        assert dict(seen.outcomes)["after"] == "complete" and other.closed == 1
        assert "closing its files has hung" in dict(seen.outcomes)["stuck"]

    def test_a_model_that_hangs_is_replaced(self, let_go: threading.Event) -> None:
        calls = []

        def forward(pixels):  # type: ignore[no-untyped-def]
            calls.append(1)
            if len(calls) == 3:
                let_go.wait(WAIT)
            return plain(pixels)

        model = level_model()
        plain = model.place(None, None)  # type: ignore[arg-type]
        object.__setattr__(model, "place", lambda device, dtype: forward)
        one = engine(model, batch_size=1)
        written = [Recorder(ordered=True), Recorder(ordered=True)]
        inputs = [
            of("stuck", lambda activity: Run(NumberedSource(9), one, [written[0]], activity=activity)),
            of("after", lambda activity: Run(NumberedSource(5), one, [written[1]], activity=activity)),
        ]
        seen = Seen()
        Batch(seen, stall_timeout=TIMEOUT, renew=one.replace_hung).execute(enumerate(inputs))
        assert seen.outcomes[0] == ("after", "complete") and written[1].indices == list(range(5))
        assert "the model has hung" in seen.outcomes[1][1]
        assert [each.event for each in one.device_events] == ["hung", "again"]

    def test_nothing_hangs_that_is_slow_but_moves(self) -> None:
        model = engine(level_model(seconds=TIMEOUT / 2), batch_size=1)
        sink = Recorder(ordered=True)
        seen = Seen()
        slow = of("slow", lambda activity: Run(NumberedSource(5), model, [sink], activity=activity))
        Batch(seen, stall_timeout=TIMEOUT).execute([(0, slow)])
        assert seen.outcomes == [("slow", "complete")] and sink.indices == list(range(5))

    def test_0_waits_for_ever(self, let_go: threading.Event) -> None:
        threading.Timer(2 * TIMEOUT, let_go.set).start()
        model = engine()
        seen = Seen()
        stuck = of("stuck", lambda activity: Run(Stuck(5, 2, let_go), model, [Recorder(ordered=True)]))
        Batch(seen, stall_timeout=0).execute([(0, stuck)])
        assert seen.outcomes == [("stuck", "complete")]

    def test_inputs_go_side_by_side(self) -> None:
        model = engine(level_model(seconds=0.01), batch_size=1)
        sinks = [Recorder(ordered=True) for _ in range(5)]

        def make(sink: Recorder) -> Callable[[Activity], Run]:
            return lambda activity: Run(NumberedSource(20), model, [sink], activity=activity)

        seen = Seen()
        Batch(seen, jobs=3).execute(enumerate(of(str(place), make(sink)) for place, sink in enumerate(sinks)))
        assert [status for _, status in seen.outcomes] == ["complete"] * 5
        assert seen.most == 3 and all(sink.indices == list(range(20)) for sink in sinks)

    def test_stopping_ends_all_of_them_and_begins_no_more(self) -> None:
        model = engine(level_model(seconds=0.02), batch_size=1)
        seen = Seen()
        batch = Batch(seen, jobs=2)
        looked = seen.looked

        def stop_once_both_run() -> None:
            looked()
            if seen.running == 2:
                batch.stop()

        seen.looked = stop_once_both_run  # type: ignore[method-assign]
        batch.execute(
            (place, of(str(place), lambda activity: Run(NumberedSource(500), model, [Recorder(ordered=True)])))
            for place in range(4)
        )
        assert seen.outcomes == [("0", "interrupted"), ("1", "interrupted")]

    def test_a_failure_that_would_meet_all_is_raised(self) -> None:
        model = engine(level_model(fail_at=3))
        seen = Seen()
        with pytest.raises(Exception, match="the graph broke"):
            Batch(seen).execute(
                (place, of(str(place), lambda activity: Run(NumberedSource(9), model, [Recorder(ordered=True)])))
                for place in range(3)
            )
        assert [name for name, _ in seen.outcomes] == ["0"]

    def test_one_that_cannot_be_opened_in_time_is_dropped(self, let_go: threading.Event) -> None:
        begun: list[str] = []

        @contextmanager
        def begin(activity: Activity) -> Iterator[Run]:
            with activity.at("open"):
                let_go.wait(WAIT)
            begun.append("late")
            yield Run(NumberedSource(5), model, [sink], activity=activity)

        model, sink = engine(), Recorder(ordered=True)
        seen = Seen()
        Batch(seen, stall_timeout=TIMEOUT).execute([(0, BatchInput("stuck", "stuck", begin))])
        [turn] = seen.turns
        assert isinstance(turn.error, Stalled) and "opening it has hung" in str(turn.error)
        let_go.set()
        end = time.monotonic() + WAIT
        while not begun and time.monotonic() < end:
            time.sleep(0.01)
        assert begun and sink.indices == []

    def test_what_ends_all_while_it_is_stopped_is_raised(self) -> None:
        """One that cannot be begun may say so in the moment in which those are left behind that have not begun."""
        failing = threading.Event()

        @contextmanager
        def begin(activity: Activity) -> Iterator[Run]:
            failing.wait(WAIT)
            raise DeviceError("the device is gone")
            yield

        class Stopping(Seen):
            def looked(self) -> None:
                batch.stop()
                failing.set()
                while batch._ended.empty() and not self.turns:
                    time.sleep(0.001)

        seen = Stopping()
        batch = Batch(seen)
        with pytest.raises(DeviceError, match="the device is gone"):
            batch.execute([(0, BatchInput("one", "one", begin))])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and signals")
class TestProgram:
    """In a process of its own, which has to come to its end with a thread that never does."""

    @pytest.fixture
    def silent_server(self) -> Iterator[str]:
        """Answers, sends the beginning of a video, and then nothing."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            kept = []

            def serve() -> None:
                while True:
                    try:
                        client, _ = server.accept()
                    except OSError:
                        return
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\nContent-Type: video/mp4\r\n\r\n")
                    client.sendall(bytes(100_000))
                    kept.append(client)

            threading.Thread(target=serve, daemon=True).start()
            yield f"http://127.0.0.1:{server.getsockname()[1]}/talk.mp4"

    def test_the_batch_goes_on_and_ends(self, tmp_path: Path, silent_server: str) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3)
        os.mkfifo(tmp_path / "pipe.mp4")
        stuck = [tmp_path / "pipe.mp4", silent_server]
        outcome = finish(start("video", *stuck, clip, "-o", tmp_path / "out", *FAST, "--stall-timeout", 1))
        assert outcome.code == 3, outcome.stderr
        errors = [line for line in outcome.stderr.splitlines() if line.startswith("error:")]
        assert len(errors) == 2 and all("opening it has hung for 1" in error for error in errors)
        lines = [json.loads(line) for line in (tmp_path / "out" / "run.jsonl").read_text().splitlines()]
        assert [line["status"] for line in lines] == ["failed", "failed", "done"]

    def test_a_process_that_was_stopped_has_hung_nowhere(self, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=200)
        process = start("video", clip, "-o", tmp_path / "out", *FAST, "--stall-timeout", 2)
        wait_for(lambda: (tmp_path / "out" / "clip" / "000003.json").exists(), process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)
        outcome = finish(process)
        assert outcome.code == 0, outcome.stderr

    def test_a_thread_in_c_does_not_keep_the_process(self, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3)
        script = (
            "import ctypes, sys\n"
            "from sapiens_stream.sources.video import Video\n"
            "plain = Video.frames\n"
            "def frames(self):\n"
            "    yield next(plain(self))\n"
            "    ctypes.CDLL(None).sleep(600)\n"
            "Video.frames = frames\n"
            "from sapiens_stream.__main__ import main\n"
            "main()\n"
        )
        line = ["video", clip, "-o", tmp_path / "out", *FAST, "--stall-timeout", 1]
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, line)], capture_output=True, text=True, timeout=WAIT
        )
        assert done.returncode == 1 and "decoding has hung" in done.stderr, done.stderr
        record = json.loads((tmp_path / "out" / "clip_run.json").read_text())
        assert record["status"] == "failed" and "decoding has hung" in record["error"]
