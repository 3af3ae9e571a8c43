"""Statistics of a clip: each figure is what the class maps say, in CSV and in Parquet, however they are made."""

import csv
import json
from fractions import Fraction

import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import OutputError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.sinks.statistics import Row
from sapiens_stream.sinks.statistics_files import StatisticsCsv, StatisticsParquet
from sapiens_stream.soft import Extent, RankedPlanes
from tests.media import make_video
from tests.test_results_export import SIZE, some_maps, some_people

MAPS = some_maps(5)


def results(people=False, ranked=None):
    for index, class_map in enumerate(MAPS):
        frame = Frame(
            index=index,
            name=f"clip/{index:06d}",
            decoded=np.zeros((*SIZE, 3), np.uint8),
            pts=index,
            time_base=Fraction(1, 25),
        )
        yield Segmentation(
            frame=frame,
            class_map=class_map,
            classes=SAPIENS,
            person_map=some_people(class_map) if people else None,
            ranked=ranked,
        )


def expected(people):
    """The same, a mask at a time."""
    before = None
    for index, class_map in enumerate(MAPS):
        owner = some_people(class_map) if people else np.zeros(SIZE, np.uint16)
        for person in np.unique(owner):
            for class_id in range(1, 28):
                mask = (class_map == class_id) & (owner == person)
                if not mask.any():
                    continue
                rows, columns = np.nonzero(mask)
                flicker = None
                if before is not None:
                    was = (before[0] == class_id) & (before[1] == person)
                    flicker = (mask != was).sum() / (mask | was).sum()
                yield {
                    "frame": index,
                    "name": f"clip/{index:06d}",
                    "time": index / 25,
                    "person": int(person) or None,
                    "class_id": class_id,
                    "class_name": SAPIENS[class_id],
                    "pixels": int(mask.sum()),
                    "fraction": mask.mean(),
                    "x": columns.min(),
                    "y": rows.min(),
                    "width": np.ptp(columns) + 1,
                    "height": np.ptp(rows) + 1,
                    "centroid_x": columns.mean(),
                    "centroid_y": rows.mean(),
                    "confidence": None,
                    "flicker": flicker,
                }
        before = class_map, owner


def read_csv(path):
    def value(name, text):
        if not text:
            return None
        return text if name in ("name", "class_name") else float(text)

    with path.open(newline="") as file:
        return [{name: value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


def read_parquet(path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra export is not installed")
    return parquet.read_table(path).to_pylist()


KINDS = {"csv": (StatisticsCsv, read_csv), "parquet": (StatisticsParquet, read_parquet)}
EVERY = pytest.mark.parametrize("make, read", KINDS.values(), ids=KINDS.keys())


def written(make, path, found, **settings):
    sink = make(path, **settings)
    for result in found:
        work = sink.prepare(result)
        sink.write_prepared(result, work())
    sink.close()
    assert sink.written == [path]
    return path


@EVERY
@pytest.mark.parametrize("people", [False, True], ids=["classes", "people"])
def test_each_figure_is_that_of_the_class_map(people, make, read, tmp_path):
    found = read(written(make, tmp_path / "clip_statistics", results(people)))
    wanted = list(expected(people))
    assert len(found) == len(wanted) > 50
    for row, other in zip(found, wanted, strict=True):
        assert list(row) == list(Row._fields)
        assert row == pytest.approx(other, abs=1e-6)


@EVERY
def test_only_what_is_asked_for_is_told(make, read, tmp_path):
    found = read(written(make, tmp_path / "clip", results(), only=(2, 3), moving=False))
    assert {row["class_id"] for row in found} == {2, 3}
    assert {row["flicker"] for row in found} == {None}


def test_a_confidence_is_the_mean_where_the_class_is_the_likeliest(tmp_path):
    ids = np.array([[[2, 2, 3]]], np.uint8)
    values = np.array([[[65535, 32768, 13107]]], np.uint16)
    ranked = RankedPlanes(ids, values, Extent(SIZE, (0, 0, *SIZE), (0.0, 0.0, 1.0, 3.0)))
    found = read_csv(written(StatisticsCsv, tmp_path / "clip.csv", results(ranked=ranked)))
    told = {row["class_id"]: row["confidence"] for row in found if row["confidence"] is not None}
    assert told == pytest.approx({2: 0.75, 3: 0.2}, abs=1e-4)


def test_a_full_disk_leaves_no_half_parquet(small_disk):
    pytest.importorskip("pyarrow", reason="the extra export is not installed")
    (small_disk / "filler").write_bytes(bytes(1_048_576 - 8_192))
    sink = StatisticsParquet(small_disk / "clip.parquet")
    with pytest.raises(OutputError, match=r"clip.parquet.*No space left"):
        for _ in range(300):
            for result in results(people=True):
                sink.write(result)
        sink.close()
    sink.close()
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("save", ["statistics", "parquet"])
def test_a_run_keeps_them_and_stored_maps_give_the_same(save, program, colour_torchscript, tmp_path):
    clip = make_video(tmp_path / "clip.mp4", frames=6, vfr=True)
    run = ("video", clip, "-m", colour_torchscript, "-o", tmp_path / "out", "-q", "--overlay", "none")
    assert program(*run, "--save", f"labels,{save}").code == 0
    assert program("results", "render", tmp_path / "out", "--save", save, "--overlay", "none").code == 0
    [path] = (tmp_path / "out").glob("clip_statistics.*")
    read = read_csv if save == "statistics" else read_parquet
    of_run, rendered = read(path), read(tmp_path / "out/rendered" / path.name)
    told = [row.pop("confidence") for row in of_run]
    assert sum(each is not None and 0 < each <= 1 for each in told) > len(told) / 2  # not of the smallest
    assert {row.pop("confidence") for row in rendered} == {None}  # class maps hold no probabilities
    assert of_run == rendered != []
    assert path.name in json.loads((tmp_path / "out/clip_run.json").read_text())["files"]["single"]
    times = sorted({row["time"] for row in read(path)})
    assert len(set(np.round(np.diff(times), 4))) > 1, "the clip's own times"
