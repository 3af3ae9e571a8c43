"""A sink of your own: how much of each frame every class covers, as a CSV table.

    python samples/custom_sink.py clip.mp4 areas.csv

The run does the rest: decoding, batches, order, Ctrl-C. Other sinks of the package can stand beside it in the list.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sapiens_stream import OutputError, Run, SapiensStreamError, Segmentation, Segmenter, Sink, open_source


class Areas(Sink):
    """Writes a row a frame: its number, its time in seconds, and each class's share of the picture.

    Raises OutputError where the file cannot be written.
    """

    ordered = True  # called in the source's order, from one thread

    def __init__(self, path: Path, classes: tuple[str, ...]) -> None:
        self._path = path
        self._aside = path.with_name(f".{path.name}.part")
        self._classes = classes
        try:
            self._file = self._aside.open("w", newline="")
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}") from error
        self._rows = csv.writer(self._file)
        self._rows.writerow(["frame", "time", *classes])

    def write(self, result: Segmentation) -> None:
        shares = {label.name: label.fraction for label in result.labels}
        time = "" if result.frame.time is None else f"{float(result.frame.time):.3f}"
        self._rows.writerow([result.frame.index, time, *(f"{shares.get(name, 0):.6f}" for name in self._classes)])

    def close(self) -> None:
        """Called once, also after Ctrl-C or a failure: what there is takes its name whole."""
        self._file.close()
        self._aside.replace(self._path)


def main(video: str, table: str) -> None:
    with Segmenter("builtin") as model, open_source(video) as source:
        Run(source, model.engine, [Areas(Path(table), model.classes[1:])]).execute(check=True)
    print(f"{table}: {len(Path(table).read_text().splitlines()) - 1} frames")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python samples/custom_sink.py VIDEO TABLE")
    try:
        main(*sys.argv[1:])
    except (SapiensStreamError, OSError) as error:  # what its user can mend
        sys.exit(f"error: {error}")
