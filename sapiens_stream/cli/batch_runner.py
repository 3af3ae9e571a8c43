"""Executes the inputs of a command: shows how they go, tells file and log of each that ends, and what came of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from threading import Lock

from sapiens_stream.cli.batch_display import BatchDisplay, BatchProgress
from sapiens_stream.cli.display import Display
from sapiens_stream.cli.leaving import leave_threads_behind
from sapiens_stream.cli.runner import Runner, stopped_by_signals
from sapiens_stream.errors import InputError, Stalled, cause
from sapiens_stream.frame import Skipped
from sapiens_stream.pipeline.batch import Batch, BatchInput, Jobs, Turn
from sapiens_stream.pipeline.batch_file import BatchFile, Ending, State
from sapiens_stream.pipeline.earlier_run import written_before
from sapiens_stream.pipeline.event_log import EventLog
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.outlook import Outlook, look_at_lengths
from sapiens_stream.pipeline.record import as_line
from sapiens_stream.pipeline.run import Run
from sapiens_stream.pipeline.run_folder import as_text
from sapiens_stream.pipeline.statistics import Statistics

LOG_EVERY = 10.0  # seconds between two lines of progress


class BatchRunner(Runner):
    """A Runner whose inputs may hang, go side by side, and are accounted for: the onlooker of a `Batch`.

    `begin` comes first, then `run`, and `finish` last.
    """

    def __init__(self, display: BatchDisplay, log: EventLog | None) -> None:
        super().__init__(display)
        self.outlook = Outlook(0)
        self._display = display
        self._log = log
        self._place = ""
        self._file: BatchFile | None = None
        self._turns_are_inputs = True
        self._progress: BatchProgress | None = None
        self._lock = Lock()
        self._turns: dict[int, Turn] = {}
        self._over: dict[int, Ending] = {}
        self._to_tell: list[int] = []
        self._logged = time.monotonic()

    def begin(
        self,
        inputs: int,
        place: str,
        folder: Path,
        taken: Collection[Path],
        *,
        file: bool,
        one_run: bool = False,
    ) -> None:
        """So many inputs are to come, whose results go to `place`, for the closing lines.

        With `file` each has a line in one in `folder`, where `taken` keep their names. Where they have `one_run`,
        photos, each is told of by `note_ending`.
        """
        self.outlook = Outlook(inputs, frames_each=1 if one_run else None)
        self._place = place
        self._turns_are_inputs = not one_run
        self._file = BatchFile(folder, taken) if file else None
        self._write_log("start", inputs=inputs, place=place)

    def refuse(self, index: int, name: str, problem: Skipped | InputError) -> None:
        """An input that is not begun at all."""
        if isinstance(problem, Skipped):
            self.skip(problem)
            ending = Ending(index=index, input=problem.name, name=name, status="skipped", reason=problem.reason)
        else:
            self.reject(name, problem)
            ending = Ending(index=index, input=name, name=name, status="failed", reason=cause(problem))
        self.note_ending(ending)

    def look_at_lengths(self, names: Iterable[tuple[int, str]]) -> None:
        """Begins to ask the files for theirs, if anybody wants to know how much is left."""
        if self.outlook.inputs > 1 and (self._log is not None or not self._display.quiet):
            look_at_lengths(names, self.outlook, lambda: self.interrupted or self.outlook.ended >= self.outlook.inputs)

    def run(
        self,
        inputs: Iterable[tuple[int, BatchInput]],
        *,
        jobs: Jobs = 1,
        stall_timeout: float,
        renew: Callable[[Stalled], None],
    ) -> None:
        """Executes the inputs under their numbers; what became of all is then in `exit_code`."""
        inputs = list(inputs)
        self._to_tell = [index for index, _ in inputs]
        batch = Batch(self, jobs=jobs, stall_timeout=stall_timeout, renew=renew)
        shown = self._display.batch(self.outlook, over_all=self._turns_are_inputs and self.outlook.inputs > 1)
        try:
            with stopped_by_signals(batch, self.display), shown as self._progress:
                batch.execute(inputs)
        finally:
            self._progress = None
            self.interrupted |= batch.stopping and bool(self._to_tell)
            for index in [*self._to_tell]:
                self._tell(index)
            self._settle()

    def begun(self, turn: Turn) -> None:
        assert turn.run is not None and self._progress is not None
        self.outlook.start()
        if self._turns_are_inputs:
            self.outlook.expect(turn.index, turn.run.frame_count)
        self._progress.begin(turn.index, turn.run.name, turn.run.frame_count)
        with self._lock:
            self._turns[turn.index] = turn
        self._write_log("input", index=turn.index, input=turn.run.name, frames=turn.run.frame_count)

    def moved(self, turn: Turn, statistics: Statistics) -> None:
        self.outlook.move(turn.index, statistics.segmented + statistics.passed if self._turns_are_inputs else 0)
        if (progress := self._progress) is not None:
            progress.move(turn.index, statistics)

    def ended(self, turn: Turn) -> None:
        if turn.activity.hung or turn.dropped:
            leave_threads_behind()
        ending = _ending(turn)
        with self._lock:
            self._turns[turn.index] = turn
        self._over[turn.index] = ending
        if self._turns_are_inputs or turn.run is None:
            self.note_ending(ending)
        if self._progress is not None:
            self._progress.end(turn.index)
        while self._to_tell and self._to_tell[0] in self._over:
            self._tell(self._to_tell[0])

    def looked(self) -> None:
        if self._log is None or time.monotonic() - self._logged < LOG_EVERY:
            return
        self._logged = time.monotonic()
        left = self.outlook.seconds_left
        with self._lock:
            running = [turn for index, turn in self._turns.items() if index not in self._over and turn.run is not None]
        self._log.write(
            "progress",
            inputs=self.outlook.inputs,
            ended=self.outlook.ended,
            frames=self.outlook.frames,
            seconds=round(self.outlook.seconds, 3),
            seconds_left=round(left, 1) if left is not None else None,
            running=[_running(turn.index, turn.run) for turn in running if turn.run is not None],
        )

    def note_ending(self, ending: Ending) -> None:
        """Accounts for an input that is over; safe from any thread."""
        with self._lock:
            self.outlook.end(ending)
            if self._file is not None:
                try:
                    self._file.append(ending)
                except OSError as error:
                    self.display.warn(f"{self._file.path} can't be written: {cause(error)}")
                    self._file = None
        self._write_log("end_of_input", **{name: each for name, each in ending.as_dict().items() if name != "schema"})

    def finish(self) -> int:
        """Tells what came of all inputs, where they are several. Returns the exit code."""
        code = self.exit_code
        summary = self.outlook.summary()
        if self.outlook.inputs > 1 and self.outlook.ended:
            self._display.summary(summary, as_text(summary))
        if self._log is not None:
            members = {name: each for name, each in summary.items() if name != "schema"}
            self._log.write("end", exit_code=code, **members)
            self._log.close()
        return code

    def _tell(self, index: int) -> None:
        """The lines about an input, once those before it are told."""
        self._to_tell.remove(index)
        turn = self._turns.get(index)
        if turn is None or index not in self._over:
            return
        if self._turns_are_inputs:
            del self._turns[index]  # with what its run holds
        run, error = turn.run, turn.error
        if run is None:
            if error is not None and belongs_to_input(error):
                self.reject(turn.what.input, error)
            self.interrupted = self.interrupted or error is None
            return
        self.display.json_line(as_line(run.record()))
        if error is not None:
            if not belongs_to_input(error):
                return  # it is raised
            self._fail(run.name, error)
        else:
            self._done += run.passed_over or run.statistics.written + run.statistics.passed > 0
            self.interrupted = self.interrupted or turn.interrupted
        self._close(run, self._place)

    def _settle(self) -> None:
        if self._file is not None:
            try:
                self._file.settle(self._whole_record())
            except OSError as error:
                self.display.warn(f"{self._file.path} can't be put in order: {cause(error)}")

    def _whole_record(self) -> str | None:
        """Where photos are one run, and it is complete: the name of its record."""
        turns = [] if self._turns_are_inputs else [turn for turn in self._turns.values() if turn.error is None]
        return next((turn.run.record_name for turn in turns if turn.run and turn.run.status == "complete"), None)

    def _write_log(self, event: str, **members: object) -> None:
        if self._log is not None:
            self._log.write(event, **members)


def batch_runner(*, quiet: bool, json: bool, log: Path | None) -> BatchRunner:
    """One with its display. Raises UsageError for a `log` that cannot be written."""
    warn = Display(quiet=quiet, json=json).warn
    events = EventLog(log, warn) if log is not None else None
    return BatchRunner(BatchDisplay(quiet=quiet, json=json, log=events), events)


def _ending(turn: Turn) -> Ending:
    run, error = turn.run, turn.error
    if run is None:
        return Ending(
            index=turn.index,
            input=turn.what.input,
            name=turn.what.name,
            status="failed" if error is not None else "interrupted",
            reason=cause(error) if error is not None else None,
        )
    status: State = "resumed" if run.resumed else "done"
    reason = f"{run.statistics.skips[0].reason}" if run.statistics.skips else None
    if error is not None:
        status, reason = "failed", cause(error)
    elif turn.interrupted:
        status = "interrupted"
    elif run.passed_over:
        reason = "done already"
    return Ending(
        index=turn.index,
        input=run.name,
        name=turn.what.name,
        status=status,
        reason=reason,
        frames=written_before(run.record()) if run.passed_over else run.statistics.written + run.statistics.passed,
        segmented=run.statistics.segmented_now,
        seconds=run.statistics.elapsed,
        bytes=run.bytes,
        record=run.record_name,
    )


def _running(index: int, run: Run) -> dict[str, object]:
    statistics = run.statistics
    rate = statistics.rate
    return {
        "index": index,
        "input": run.name,
        "frames": statistics.segmented + statistics.passed,
        "expected": run.frame_count,
        "frames_per_second": round(rate, 3) if rate else None,
    }
