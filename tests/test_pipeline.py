"""Queues and threads: order, bounds, errors that cross threads, and every wait having an end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from sapiens_stream.classes import numbered
from sapiens_stream.errors import InputError, ModelError, OutputError, Stalled, UsageError
from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped, SourceInfo
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.pipeline import Run, Statistics, Stream
from sapiens_stream.pipeline.channel import Cancelled, Channel
from sapiens_stream.pipeline.writers import Writers
from sapiens_stream.sinks import Outputs, Sink
from sapiens_stream.sources import Source
from tests.signals import ends_with_signals_in_locks

WAIT = 5.0  # seconds: far longer than any of these should take, far shorter than for ever


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def no_threads_left(before: set[threading.Thread]) -> bool:
    """Apart from the engine's own, which last as long as it does."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if all(thread.name == "worker" for thread in set(threading.enumerate()) - before):
            return True
        time.sleep(0.01)
    return False


class NumberedSource(Source):
    """Frames whose every pixel says their index; `Skipped` at some indices, damaged at some, an error at one."""

    def __init__(
        self,
        count: int,
        *,
        skip: tuple[int, ...] = (),
        damaged: tuple[int, ...] = (),
        fail_at: int | None = None,
        kind: str = "video",
    ):
        self.info = SourceInfo(name="numbered", kind=kind, frame_count=count)  # type: ignore[arg-type]
        self.count, self.skip, self.damaged, self.fail_at = count, skip, damaged, fail_at
        self.yielded = 0
        self.closed = False

    def frames(self) -> Iterator[Frame | Skipped]:
        for index in range(self.count):
            if index == self.fail_at:
                raise InputError("numbered: it broke")
            if index in self.skip:
                yield Skipped(f"numbered/{index}", "left out")
                continue
            self.yielded += 1
            picture = np.full((8, 6, 3), index % 256, np.uint8)
            yield Frame(
                index=index,
                name=f"numbered/{index:06d}",
                decoded=picture,
                pts=index,
                time_base=Fraction(1, 25),
                damaged=Damaged("numbered", f"frame {index} is torn") if index in self.damaged else None,
            )

    def close(self) -> None:
        self.closed = True


def level_model(fail_at: int | None = None, seconds: float = 0.0) -> Model:
    """Gives each picture the class that is its grey level, of 256."""
    levels = torch.arange(256.0).view(1, 256, 1, 1)

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        level = pixels.mean(1, keepdim=True)
        if fail_at is not None and bool((level.round() == fail_at).any()):
            raise RuntimeError("the graph broke")
        return -(level - levels).abs()

    return Model(
        name="levels",
        kind="test",
        classes=numbered(256),
        input=InputSpec(height=8, width=6, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        logits_size=(8, 6),
        place=lambda device, dtype: forward,
    )


def engine(model: Model | None = None, batch_size: int = 2) -> Engine:
    return Engine(model or level_model(), InferenceOptions(device="cpu", batch_size=batch_size), warn=pytest.fail)


class Recorder(Sink):
    """Keeps the indices it was given; may be slow, or fail at one."""

    def __init__(self, *, ordered: bool, fail_at: int | None = None, seconds: float = 0.0):
        self.ordered = ordered  # type: ignore[misc]
        self.fail_at, self.seconds = fail_at, seconds
        self.indices: list[int] = []
        self.closed = 0

    def write(self, result: Segmentation) -> None:
        time.sleep(self.seconds)
        if result.frame.index == self.fail_at:
            raise OutputError("recorder: the disk is full")
        self.indices.append(result.frame.index)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return 1

    def close(self) -> None:
        self.closed += 1


class TestChannel:
    def test_hands_items_over_in_order_and_ends(self) -> None:
        channel: Channel[int] = Channel(2)
        in_thread(lambda: ([channel.put(i) for i in range(50)], channel.close()))
        assert list(channel) == list(range(50))

    def test_never_holds_more_than_its_capacity(self) -> None:
        channel: Channel[int] = Channel(3)
        writer = in_thread(lambda: [channel.put(i) for i in range(4)])
        time.sleep(0.05)
        assert writer.is_alive() and len(channel) == 3
        next(channel)
        writer.join(WAIT)
        assert not writer.is_alive() and len(channel) == 3

    def test_is_full_by_weight_too_but_for_one_item_alone(self) -> None:
        channel: Channel[int] = Channel(10, weigh=lambda item: item, most=6)
        writer = in_thread(lambda: [channel.put(item) for item in (3, 3, 1, 9)])
        held = []
        for left in (2, 2, 1, 1):
            end = time.monotonic() + WAIT
            while len(channel) < left and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.02)
            assert len(channel) == left
            held.append(next(channel))
        writer.join(WAIT)
        assert held == [3, 3, 1, 9] and not writer.is_alive()

    def test_newest_wins_by_weight_too(self) -> None:
        channel: Channel[int] = Channel(10, newest_wins=True, weigh=lambda item: item, most=6)
        for item in (1, 2, 3, 4, 9, 5):
            channel.put(item)
        channel.close()
        assert (list(channel), channel.dropped) == ([5], 5)

    def test_newest_wins_drops_and_counts_the_oldest(self) -> None:
        channel: Channel[int] = Channel(2, newest_wins=True)
        for index in range(7):
            channel.put(index)
        channel.close()
        assert (list(channel), channel.dropped) == ([5, 6], 5)

    def test_a_failure_reaches_the_reader_after_the_items_before_it(self) -> None:
        channel: Channel[int] = Channel(4)
        channel.put(1)
        channel.fail(InputError("broke"))
        assert next(channel) == 1
        with pytest.raises(InputError, match="broke"):
            next(channel)

    @pytest.mark.parametrize("end", ["close", "cancel"])
    def test_ending_it_frees_a_waiting_writer(self, end: str) -> None:
        channel: Channel[int] = Channel(1)
        outcome: list[BaseException] = []

        def write() -> None:
            try:
                channel.put(1)
                channel.put(2)
            except Cancelled as error:
                outcome.append(error)

        writer = in_thread(write)
        time.sleep(0.05)
        getattr(channel, end)()
        writer.join(WAIT)
        assert len(outcome) == 1


class TestStream:
    @pytest.mark.parametrize(("size", "most"), [((2304, 4096), 16), ((4320, 7680), 2), ((8736, 11648), 1)])
    def test_a_batch_of_very_large_pictures_is_smaller(
        self, size: tuple[int, int], most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Frame, "size", size)  # such pictures themselves would take gigabytes
        batches: list[int] = []
        one = engine(batch_size=16)

        def run(given: Iterator[Sequence[Frame]], _refiner: object) -> Iterator[list[Segmentation]]:
            for batch in given:
                batches.append(len(batch))
                yield []

        monkeypatch.setattr(one, "run", run)
        with Stream(NumberedSource(40), one) as stream:
            assert not list(stream)
        assert sum(batches) == 40 and max(batches) == most

    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_yields_each_frame_once_in_order(self, count: int, batch_size: int) -> None:
        with Stream(NumberedSource(count), engine(batch_size=batch_size)) as stream:
            results = list(stream)
        assert [result.frame.index for result in results] == list(range(count))
        assert all((result.class_map == result.frame.index).all() for result in results)

    def test_what_the_source_skips_is_counted_and_told(self) -> None:
        told: list[Skipped] = []
        with Stream(NumberedSource(6, skip=(0, 3)), engine(), on_skip=told.append) as stream:
            indices = [result.frame.index for result in stream]
        assert indices == [1, 2, 4, 5]
        assert [item.name for item in told] == ["numbered/0", "numbered/3"]
        assert (stream.statistics.decoded, stream.statistics.skipped) == (4, 2)

    @pytest.mark.parametrize(
        ("strict", "indices", "skips", "damages"),
        [
            (False, [0, 1, 2, 3, 4], [], ["frame 1 is torn", "frame 4 is torn"]),
            (True, [0, 2, 3], ["frame 1 is torn", "frame 4 is torn"], []),
        ],
    )
    def test_damaged_frames_are_used_and_told_or_skipped_if_strict(
        self, strict: bool, indices: list[int], skips: list[str], damages: list[str]
    ) -> None:
        skipped: list[Skipped] = []
        damaged: list[Damaged] = []
        source = NumberedSource(5, damaged=(1, 4))
        with Stream(source, engine(), on_skip=skipped.append, on_damage=damaged.append, strict=strict) as stream:
            assert [result.frame.index for result in stream] == indices
        assert [item.reason for item in skipped] == skips == [item.reason for item in stream.statistics.skips]
        assert [item.reason for item in damaged] == damages == [item.reason for item in stream.statistics.damages]
        assert (stream.statistics.skipped, stream.statistics.damaged) == (len(skips), len(damages))

    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_a_failing_source_gives_its_good_frames_and_then_its_error(self, batch_size: int) -> None:
        before = set(threading.enumerate())
        indices = []
        with (
            pytest.raises(InputError, match="it broke"),
            Stream(NumberedSource(9, fail_at=6), engine(batch_size=batch_size)) as stream,
        ):
            for result in stream:
                indices.append(result.frame.index)
        assert indices == list(range(6))
        assert no_threads_left(before)

    def test_a_failing_model_ends_the_source(self) -> None:
        before = set(threading.enumerate())
        source = NumberedSource(10_000)
        with (
            pytest.raises(ModelError, match="the graph broke"),
            Stream(source, engine(level_model(fail_at=4), batch_size=1)) as stream,
        ):
            list(stream)
        assert source.closed and source.yielded < 20
        assert no_threads_left(before)

    def test_leaving_early_stops_the_threads(self) -> None:
        before = set(threading.enumerate())
        source = NumberedSource(10_000)
        with Stream(source, engine()) as stream:
            for result in stream:
                if result.frame.index == 3:
                    break
        assert source.closed and source.yielded < 30
        assert no_threads_left(before)

    def test_stop_finishes_what_was_read(self) -> None:
        source = NumberedSource(10_000)
        with Stream(source, engine()) as stream:
            indices = []
            for result in stream:
                indices.append(result.frame.index)
                stream.stop()
        assert indices == list(range(source.yielded)) and len(indices) < 30

    def test_a_slow_reader_bounds_what_is_read_ahead(self) -> None:
        source = NumberedSource(1000)
        with Stream(source, engine(batch_size=2)) as stream:
            next(iter(stream))
            time.sleep(0.2)
            assert source.yielded < 20

    def test_a_live_source_drops_old_frames_and_counts_them(self) -> None:
        with Stream(NumberedSource(60, kind="live"), engine(level_model(seconds=0.02), batch_size=1)) as stream:
            indices = [result.frame.index for result in stream]
        statistics = stream.statistics
        assert indices == sorted(set(indices)) and indices[-1] == 59
        assert len(indices) + statistics.dropped == statistics.decoded == 60 and statistics.dropped


class TestWriters:
    def results(self, count: int) -> list[Segmentation]:
        with Stream(NumberedSource(count), engine()) as stream:
            return list(stream)

    def test_each_sink_gets_each_result_and_ordered_ones_in_order(self) -> None:
        ordered, pooled = Recorder(ordered=True), Recorder(ordered=False)
        statistics = Statistics()
        writers = Writers([ordered, pooled], statistics, workers=3)
        for result in self.results(40):
            writers.write(result)
        writers.close()
        assert ordered.indices == list(range(40)) and sorted(pooled.indices) == list(range(40))
        assert (ordered.closed, pooled.closed, statistics.written) == (1, 1, 40)

    @pytest.mark.parametrize("ordered", [True, False])
    def test_a_failing_sink_is_raised_and_the_others_are_closed(self, ordered: bool) -> None:
        before = set(threading.enumerate())
        failing, good = Recorder(ordered=ordered, fail_at=3), Recorder(ordered=not ordered)
        writers = Writers([failing, good], Statistics())
        with pytest.raises(OutputError, match="disk is full"):
            for result in self.results(200):
                writers.write(result)
        with pytest.raises(OutputError, match="disk is full"):
            writers.close()
        assert failing.closed == good.closed == 1 and len(good.indices) < 200
        assert no_threads_left(before)

    def test_what_is_prepared_ahead_is_written_in_order(self) -> None:
        """The first result's work is done last; each is still written with what came of its own."""
        last_prepared = threading.Event()

        class Painting(Sink):
            ordered = True

            def __init__(self) -> None:
                self.seen: list[tuple[int, str]] = []

            def prepare(self, result: Segmentation) -> Callable[[], str]:
                index = result.frame.index

                def work() -> str:
                    if index == 0:
                        assert last_prepared.wait(30)
                    if index == 3:
                        last_prepared.set()
                    return f"painted {index}"

                return work

            def write(self, result: Segmentation) -> None:
                raise AssertionError("it was prepared")

            def write_prepared(self, result: Segmentation, prepared: str) -> None:
                self.seen.append((result.frame.index, prepared))

        sink, statistics = Painting(), Statistics()
        writers = Writers([sink], statistics, workers=2)
        for result in self.results(8):
            writers.write(result)
        writers.close()
        assert sink.seen == [(index, f"painted {index}") for index in range(8)]
        assert statistics.written == 8
        assert statistics.seconds["paint"] > 0

    def test_a_failure_of_what_is_prepared_ahead_is_the_sinks_own(self) -> None:
        class Failing(Sink):
            ordered = True

            def prepare(self, result: Segmentation) -> Callable[[], None]:
                def work() -> None:
                    raise OutputError("no paint")

                return work

            def write(self, result: Segmentation) -> None:
                raise AssertionError("it was prepared")

        writers = Writers([Failing()], Statistics())
        with pytest.raises(OutputError, match="no paint"):
            for result in self.results(100):
                writers.write(result)
        with pytest.raises(OutputError, match="no paint"):
            writers.close()


class TestRun:
    def test_the_record_of_a_complete_run_adds_up(self, tmp_path: Path) -> None:
        run = Run(
            NumberedSource(9, skip=(4,), damaged=(7,)),
            engine(),
            [Recorder(ordered=True)],
            record_path=tmp_path / "r.json",
        )
        run.execute()
        record = json.loads((tmp_path / "r.json").read_text())
        assert record == run.record()
        assert record["status"] == "complete" and record["error"] is None
        assert record["frames"] == {
            "expected": 9, "decoded": 8, "segmented": 8, "written": 8, "dropped": 0, "skipped": 1, "damaged": 1,
            "stored": 0,
        }  # fmt: skip
        assert record["skipped"] == [{"name": "numbered/4", "reason": "left out"}]
        assert record["damaged"] == [{"name": "numbered", "reason": "frame 7 is torn"}]
        assert record["model"]["name"] == "levels" and record["precision"] == "float32"
        assert {"decode", "encode"} < set(record["stages"])

    @pytest.mark.parametrize(
        ("source", "sink", "error"),
        [
            (NumberedSource(9, fail_at=5), Recorder(ordered=True), InputError),
            (NumberedSource(500), Recorder(ordered=True, fail_at=5), OutputError),
        ],
        ids=["source", "sink"],
    )
    def test_a_failed_run_says_why_in_its_record(
        self, tmp_path: Path, source: Source, sink: Recorder, error: type[Exception]
    ) -> None:
        run = Run(source, engine(), [sink], record_path=tmp_path / "r.json")
        run.execute()
        record = json.loads((tmp_path / "r.json").read_text())
        assert isinstance(run.error, error) and record["status"] == "failed"
        assert record["error"] == str(run.error)
        assert sink.indices == [0, 1, 2, 3, 4] and sink.closed == 1

    def test_one_that_is_given_up_in_the_moment_of_its_end_has_failed(self, tmp_path: Path) -> None:
        class LastMoment(Recorder):
            """Its files are asked for after it was closed: when the run makes sure of them."""

            @property
            def written(self) -> list[Path]:
                if self.closed and run.error is None:
                    run.give_up(Stalled("numbered: encoding has hung for 60 s"))
                return []

        run = Run(NumberedSource(3), engine(), [LastMoment(ordered=True)], record_path=tmp_path / "r.json")
        run.execute()
        record = json.loads((tmp_path / "r.json").read_text())
        assert (run.status, record["status"]) == ("failed", "failed")
        assert record["error"] == "numbered: encoding has hung for 60 s"

    def test_a_signal_handler_may_stop_it_at_any_moment(self) -> None:
        run = Run(NumberedSource(30), engine(), [Recorder(ordered=True)])
        assert ends_with_signals_in_locks(lambda begin: run.execute(lambda statistics: begin()), run.stop)
        assert run.status == "interrupted" and run.error is None

    @pytest.mark.parametrize(
        ("settings", "status"), [({}, "complete"), ({"every": 2}, "failed")], ids=["done", "other"]
    )
    def test_a_run_that_does_nothing_closes_its_source_and_leaves_its_sinks_alone(
        self, settings: dict[str, int], status: str, tmp_path: Path
    ) -> None:
        record, info, one = tmp_path / "r.json", NumberedSource(3).info, engine()

        def outputs() -> Sequence[Sink]:
            return Outputs(overlay="none", save="classes").sinks(tmp_path, "r", info, one.model.classes, pytest.fail)

        Run(NumberedSource(3), one, outputs(), record_path=record).execute(check=True)
        source, sink = NumberedSource(3), Recorder(ordered=True)
        sinks = [sink, *outputs()]
        run = Run(source, one, sinks, record_path=record, resume=not settings, settings=settings)
        run.execute()
        assert (run.status, run.passed_over) == (status, not settings)
        assert (source.closed, source.yielded, sink.closed) == (True, 0, 0)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"source": "clip.mp4"}, "source is an open Source, as open_source makes one; got str"),
            ({"engine": level_model()}, "engine is what infers, as a Segmenter's `engine` does; got Model"),
            ({"sinks": Recorder(ordered=True)}, "sinks are a list; got Recorder"),
            ({"sinks": [print]}, "sinks are each a Sink; got builtin_function_or_method"),
        ],
    )
    def test_what_is_no_part_of_a_run_is_told_at_once(self, wrong: dict[str, Any], said: str) -> None:
        with pytest.raises(UsageError, match=said):
            Run(**{"source": NumberedSource(1), "engine": engine(), "sinks": []} | wrong)

    def test_it_is_executed_once(self) -> None:
        sink = Recorder(ordered=True)
        run = Run(NumberedSource(2), engine(), [sink])
        run.execute(check=True)
        with pytest.raises(UsageError, match="numbered: a run is executed once"):
            run.execute()
        assert (sink.closed, run.status) == (1, "complete")

    @pytest.mark.parametrize("wrong", [np.zeros((8, 6, 3), np.uint8), None], ids=["picture", "nothing"])
    def test_a_source_that_yields_something_else_in_place_of_frames_is_told_so(self, wrong: object) -> None:
        class Wrong(NumberedSource):
            def frames(self) -> Iterator[Frame | Skipped]:
                yield wrong  # type: ignore[misc]

        source = Wrong(1)
        with pytest.raises(UsageError, match=f"yields Frame and Skipped; numbered yields {type(wrong).__name__}"):
            Run(source, engine(), [Recorder(ordered=True)]).execute(check=True)
        assert source.closed

    def test_two_frames_of_one_name_end_it_before_the_second_replaces_the_first(self, tmp_path: Path) -> None:
        class Stills(NumberedSource):
            def frames(self) -> Iterator[Frame | Skipped]:
                for each in super().frames():
                    assert isinstance(each, Frame)
                    yield replace(each, name=f"shot{each.index % 3}")

        source, one = Stills(9), engine()
        sinks = Outputs(overlay="none", save="classes").sinks(
            tmp_path, "r", source.info, one.model.classes, pytest.fail
        )
        run = Run(source, one, sinks, record_path=tmp_path / "r.json")
        with pytest.raises(UsageError, match="a second 'shot0' would replace the first's"):
            run.execute(check=True)
        assert run.statistics.written == 3 and source.closed
        assert {path.name for path in tmp_path.glob("shot*")} == {f"shot{number}_seg.npy" for number in range(3)}

    @pytest.mark.parametrize("held", [0, 6], ids=["at once", "some held"])
    def test_of_pictures_that_fill_every_place_few_are_under_way(
        self, held: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the engine looks ahead: what it holds it is given, once nothing else moves."""
        monkeypatch.setattr(Frame, "size", (12000, 12000))  # such pictures themselves would take gigabytes
        source, sink = NumberedSource(30), Recorder(ordered=True, seconds=0.005)
        most: list[int] = []
        one = engine(batch_size=4)

        def run(batches: Iterator[Sequence[Frame]], _refiner: object) -> Iterator[list[Segmentation]]:
            waiting: list[Segmentation] = []
            for batch in batches:
                waiting += [
                    Segmentation(frame=frame, class_map=np.zeros((8, 6), np.uint8), classes=one.model.classes)
                    for frame in batch
                ]
                most.append(source.yielded - len(sink.indices))
                ready = waiting[: len(waiting) - held]
                del waiting[: len(ready)]
                yield ready
            yield waiting

        monkeypatch.setattr(one, "run", run)
        Run(source, one, [sink]).execute(check=True)
        assert sink.indices == list(range(30))
        assert max(most) <= held + 4  # two of 1.4 GB each, one that is decoded meanwhile, one that is just written

    def test_a_failing_sink_lets_those_go_that_wait_for_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Frame, "size", (12000, 12000))
        one = engine()

        def run(batches: Iterator[Sequence[Frame]], _refiner: object) -> Iterator[list[Segmentation]]:
            for batch in batches:
                yield [
                    Segmentation(frame=frame, class_map=np.zeros((8, 6), np.uint8), classes=one.model.classes)
                    for frame in batch
                ]

        monkeypatch.setattr(one, "run", run)
        run_of_it = Run(NumberedSource(30), one, [Recorder(ordered=True, fail_at=0, seconds=0.05)])
        waiting = in_thread(run_of_it.execute)
        waiting.join(WAIT)
        assert not waiting.is_alive() and isinstance(run_of_it.error, OutputError)

    def test_stopping_leaves_an_interrupted_record_of_whole_frames(self, tmp_path: Path) -> None:
        sink = Recorder(ordered=True, seconds=0.005)
        run = Run(NumberedSource(100_000), engine(), [sink], record_path=tmp_path / "r.json")
        threading.Timer(0.2, run.stop).start()
        run.execute()
        record = json.loads((tmp_path / "r.json").read_text())
        assert record["status"] == run.status == "interrupted"
        assert record["frames"]["written"] == record["frames"]["decoded"] == len(sink.indices) > 0

    def test_memory_does_not_grow_with_the_length_of_the_source(self) -> None:
        process = psutil.Process()
        sizes: list[int] = []

        def watch(statistics: Statistics) -> None:
            if statistics.segmented % 250 == 0:
                sizes.append(process.memory_info().rss)

        Run(NumberedSource(3000), engine(batch_size=8), [Recorder(ordered=False)]).execute(watch)
        assert len(sizes) >= 10
        assert max(sizes[4:]) - sizes[3] < 8_000_000, [size >> 10 for size in sizes]
