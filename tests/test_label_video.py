"""Label videos: exact whatever the maps, readable by others at any moment, any frame read in the same time."""

import copy
import itertools
import json
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from shutil import which

import av
import cv2
import numpy as np
import pytest

from sapiens_stream import InputError, LabelVideo, OutputError, UsageError
from sapiens_stream.classes import SAPIENS, SAPIENS2, numbered
from sapiens_stream.containers import ebml
from sapiens_stream.containers.matroska import MatroskaFile
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.sinks.files import aside
from sapiens_stream.sinks.json_file import JsonSink
from sapiens_stream.sinks.json_lines import JsonLines
from sapiens_stream.sinks.label_video import LabelVideoSink
from tests.late_disk import make_late
from tests.test_sinks import random_map, result

INFO = SourceInfo(name="clip.mp4", kind="video", frame_rate=Fraction(25))
MEDIA_TICK = Fraction(1, 90000)


def maps(count, size, kind, seed=0):
    """Class maps of a kind, each another."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        if kind == "noise":
            yield rng.integers(0, 256, size, np.uint8)
        elif kind == "people":
            yield random_map(rng, size, 28, 6)
        else:
            yield np.full(size, int(kind), np.uint8)


def write(path, class_maps, pts=None, tick=Fraction(1, 25), *, classes=SAPIENS, info=INFO, only=None, close=True):
    sink = LabelVideoSink(path, info, only=only)
    pts = itertools.count() if pts is None else pts
    for index, (class_map, stamp) in enumerate(zip(class_maps, pts, strict=False)):
        sink.write(result(class_map=class_map, index=index, classes=classes, pts=int(stamp), time_base=tick))
    sink.identify("ab" * 32)
    if close:
        sink.close()
    return sink


SIZES = {
    "even": (48, 64),
    "odd": (61, 83),
    "one pixel": (1, 1),
    "one line": (1, 77),
    "one column": (77, 1),
    "tall": (4000, 3),
    "wide": (2, 16500),
}


@pytest.mark.parametrize("kind", ["noise", "people", "0", "1", "255"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_class_maps_come_back_to_the_bit_in_every_reader(kind, size, tmp_path):
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(5, size, kind))
    write(path, written)
    with LabelVideo(path) as video:
        assert video.size == size
        np.testing.assert_array_equal(np.stack(list(video)), np.stack(written))
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert all(packet.is_keyframe for packet in packets)
    with av.open(path) as container:
        np.testing.assert_array_equal([frame.to_ndarray() for frame in container.decode(video=0)], written)
    capture = cv2.VideoCapture(str(path))
    for class_map in written:
        np.testing.assert_array_equal(capture.read()[1], class_map[..., None].repeat(3, 2))


TIMES = {
    "25 frames/s": (Fraction(1, 25), range(40)),
    "29.97 frames/s": (Fraction(1, 30000), range(0, 40 * 1001, 1001)),
    "clock of a broadcast, variable": (MEDIA_TICK, np.cumsum(np.random.default_rng(3).integers(1, 9000, 40))),
    "mp4 at 30 frames/s": (Fraction(1, 15360), range(512, 40 * 512 + 512, 512)),
    "several in a millisecond": (Fraction(1, 1_000_000), range(5, 45)),
    "after a day": (Fraction(1, 12800), range(86400 * 12800, 86400 * 12800 + 40 * 512, 512)),
    "before zero": (Fraction(1, 12800), range(-1024, -1024 + 40 * 512, 512)),
    "three a second": (Fraction(1, 3), range(40)),
}


@pytest.mark.parametrize("tick, stamps", TIMES.values(), ids=TIMES.keys())
def test_times_are_the_sources_to_the_tick(tick, stamps, tmp_path):
    path = tmp_path / "clip_labels.mkv"
    write(path, maps(40, (9, 16), "noise"), stamps, tick)
    times = [int(stamp) * tick for stamp in stamps]
    with LabelVideo(path) as video:
        assert list(video.times) == times
        assert video.times[-1] == times[-1]
        assert list(video.times[5:30:7]) == times[5:30:7]
    with av.open(path) as container:
        played = [frame.time for frame in container.decode(video=0)]
    assert np.diff(played) == pytest.approx(np.diff(np.array(times, float)), abs=2e-9)


def test_a_label_video_is_a_sequence(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(100, (17, 30), "people"))
    write(path, written, classes=SAPIENS2)
    with LabelVideo(path) as video:
        assert len(video) == 100
        for index in (0, 31, 32, 33, 63, 64, 99, -1, -100, 50, 3):
            np.testing.assert_array_equal(video[index], written[index])
        for part in (slice(10, 20), slice(None, None, 25), slice(90, 200), slice(None, None, -1), slice(5, 5)):
            assert len(video[part]) == len(written[part])
            for one, other in zip(video[part], written[part], strict=True):
                np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(video[10:40][5:9][-1], written[18])
        for index in (100, -101, 10**9):
            with pytest.raises(IndexError):
                video[index]
        video[0][:] = 7
        np.testing.assert_array_equal(video[0], written[0])
        assert video.classes == SAPIENS2
        assert (video.classes[4], list(video.classes)) == ("Hair", list(SAPIENS2.names))
        assert (video.model, video.fingerprint, video.frame_rate) == ("sapiens-1b", "ab" * 32, 25)
        assert "100 frames of 30x17" in repr(video)


def test_others_find_what_it_was_made_of_in_its_tags(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    write(path, maps(3, (9, 16), "people"))
    with av.open(path) as container:
        tags = container.metadata
        assert container.streams.video[0].codec_context.name == "ffv1"
        assert container.streams.video[0].average_rate == 25
        assert container.duration == 120_000
    assert json.loads(tags["CLASSES"]) == list(SAPIENS.names)
    assert json.loads(tags["CLASS_COLOURS"])[3] == "#ff006d"
    assert (tags["MODEL"], tags["FINGERPRINT"], tags["TIME_BASE"]) == ("sapiens-1b", "ab" * 32, "1/25")


def test_the_size_stands_before_the_header_of_ffv1(tmp_path):
    """MediaConch and MediaInfo read that header as they come to it; of no size, its slices are wrong to them."""
    path = tmp_path / "clip_labels.mkv"
    write(path, maps(1, (90, 160), "people"))
    head = path.read_bytes()[:2048]
    width = ebml.number(ebml.PIXEL_WIDTH, 160)
    private = ebml.element(ebml.CODEC_PRIVATE, b"")[:2]
    assert 0 < head.index(width) < head.index(private)


@pytest.mark.skipif(which("ffmpeg") is None, reason="no ffmpeg program here")
def test_a_copy_by_ffmpeg_is_read_as_well(tmp_path):
    path, copy, cut = (tmp_path / name for name in ("clip_labels.mkv", "copy.mkv", "cut.mkv"))
    written = list(maps(100, (48, 64), "people"))
    write(path, written, range(0, 100 * 1001, 1001), Fraction(1, 30000))
    for target, options in ((copy, []), (cut, ["-ss", "1.0"])):
        subprocess.run(["ffmpeg", "-v", "error", "-i", path, *options, "-c", "copy", target], check=True)
    with LabelVideo(copy) as video, LabelVideo(cut) as part:
        np.testing.assert_array_equal(np.stack(list(video)), np.stack(written))
        np.testing.assert_array_equal(video[77], written[77])
        assert video.classes == SAPIENS
        assert float(video.times[30]) == pytest.approx(1.001, abs=1e-3)
        np.testing.assert_array_equal(part[-1], written[-1])


def test_what_is_written_can_be_read_at_any_moment(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    sink = LabelVideoSink(path, INFO)
    for index, class_map in enumerate(maps(70, (17, 30), "noise")):
        sink.write(result(class_map=class_map, index=index, pts=index, time_base=Fraction(1, 25)))
        [growing] = tmp_path.iterdir()
        with LabelVideo(growing) as video:
            assert len(video) == index + 1
            np.testing.assert_array_equal(video[index], class_map)
    sink.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_cut_anywhere_holds_the_frames_before(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(40, (9, 16), "people"))
    write(path, written)
    whole = path.read_bytes()
    ends = [whole.index(b"\x1f\x43\xb6\x75")]
    with LabelVideo(path) as video:
        ends += [block.at + block.size for _, block in video._index.blocks(0)]
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        try:
            video = LabelVideo(path)
        except InputError as error:
            assert size < ends[0]
            assert "cut short" in str(error) or "Matroska" in str(error)
            continue
        with video:
            assert len(video) == sum(end <= size for end in ends[1:])
            for one, other in zip(video, written, strict=False):
                np.testing.assert_array_equal(one, other)


def test_a_damaged_frame_is_named_and_the_others_are_read(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(40, (48, 64), "people"))
    write(path, written)
    data = bytearray(path.read_bytes())
    with LabelVideo(path) as video:
        block = next(block for _, block in video._index.blocks(20))
    data[block.at + block.size // 2] ^= 1
    path.write_bytes(data)
    with LabelVideo(path) as video:
        with pytest.raises(InputError, match=r"clip_labels.mkv: frame 20: it is damaged"):
            video[20]
        for index in (19, 21, 39):
            np.testing.assert_array_equal(video[index], written[index])


def test_any_bytes_are_refused_in_one_line_or_read(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    write(path, maps(40, (17, 30), "people"))
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    read = 0
    for _ in range(300):
        data = bytearray(whole)
        where = rng.integers(0, len(data) if rng.random() < 0.5 else 2000, rng.integers(1, 6))
        for place in where:
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            with LabelVideo(path, max_pixels=10_000) as video:
                for index in (0, len(video) // 2, -1):
                    assert video[index].shape == video.size
                    assert video.times[index] is not None
                read += 1
        except (InputError, IndexError) as error:
            assert "\n" not in str(error)
    assert read > 100


NO_LABEL_VIDEOS = {
    "missing": (None, "No such file"),
    "empty": (b"", "cut short"),
    "text": (b"hello, this is not a video at all", "not a Matroska file"),
    "photo": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a Matroska file"),
    "MP4": (b"\x00\x00\x00\x20ftypisom" + bytes(100), "not a Matroska file"),
    "head alone": (bytes.fromhex("1a45dfa380"), "cut short"),
}


@pytest.mark.parametrize("data, words", NO_LABEL_VIDEOS.values(), ids=NO_LABEL_VIDEOS.keys())
def test_what_is_no_label_video_is_told_in_one_line(data, words, tmp_path):
    path = tmp_path / "clip_labels.mkv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=words) as raised:
        LabelVideo(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_another_video_and_too_large_frames_are_refused(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for packet in stream.encode(av.VideoFrame(64, 48, "yuv420p")):
            container.mux(packet)
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="its codec is V_MPEG4/ISO/AVC, not FFV1"):
        LabelVideo(path)
    labels = tmp_path / "clip_labels.mkv"
    write(labels, maps(2, (48, 64), "people"))
    with pytest.raises(InputError, match="64x48"):
        LabelVideo(labels, max_pixels=1000)


@pytest.mark.parametrize(
    ("path", "most", "said"),
    [
        (5, 100, "a label video is the path of a file; got int"),
        (None, 100, "a label video is the path of a file; got NoneType"),
        ("clip_labels.mkv", 0, "max_pixels is 0; it is a number of pixels, 1 or more"),
        ("clip_labels.mkv", "4K", "max_pixels is '4K'; it is a number of pixels"),
    ],
)
def test_what_is_no_path_or_number_of_pixels_is_told(path, most, said):
    with pytest.raises(UsageError, match=said):
        LabelVideo(path, max_pixels=most)


def test_any_frame_of_hours_is_read_without_reading_the_others(tmp_path):
    """A sparse file stands for hours of video: what lies between the frames asked for is never touched."""
    path = tmp_path / "clip_labels.mkv"
    frames = 5_000
    write(path, itertools.repeat(np.zeros((1, 1), np.uint8), frames))
    reads = []
    with LabelVideo(path) as video:
        file = video._file
        plain = file._up_to
        file._up_to = lambda at, size: reads.append(size) or plain(at, size)
        for index in (0, frames // 2 + 31, frames - 1):
            before = len(reads)
            assert video[index].shape == (1, 1)
            assert len(reads) - before < 250
        assert len(video) == frames


@pytest.mark.parametrize("other", [lambda video: pickle.loads(pickle.dumps(video)), copy.copy, copy.deepcopy])
def test_one_that_is_pickled_or_copied_is_opened_anew(other, tmp_path):
    """What hands work to other processes pickles it, as torch's DataLoader does."""
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(5, (9, 11), "noise"))
    write(path, written)
    with LabelVideo(path, max_pixels=99) as video:
        anew = other(video)
    with anew:
        np.testing.assert_array_equal(anew, written)
    write(path, maps(1, (9, 12), "noise"))
    with pytest.raises(InputError, match="99"):
        other(video)


def test_who_asks_for_one_after_the_other_reads_on(tmp_path, monkeypatch):
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(100, (9, 11), "noise"))
    write(path, written)
    walked = []
    plain = MatroskaFile.frames
    monkeypatch.setattr(MatroskaFile, "frames", lambda self, cluster: [walked.append(1), plain(self, cluster)][1])
    with LabelVideo(path) as video:
        walked.clear()
        for index, class_map in enumerate(written):
            np.testing.assert_array_equal(video[index], class_map)
            assert video.times[index] == Fraction(index, 25)
        assert len(walked) <= 4 * len(written)
        for index in [*reversed(range(100)), 0, 99, 31, 32, 33, 5, 64, 63]:
            np.testing.assert_array_equal(video[index], written[index])


def test_frames_of_another_size_are_scaled_without_new_classes(tmp_path, recwarn):
    path = tmp_path / "clip_labels.mkv"
    sizes = [(48, 64), (24, 32), (96, 128)]
    write(path, [random_map(np.random.default_rng(1), size, 5, 8) for size in sizes])
    assert "the first frame was 64x48" in str(recwarn.pop(UserWarning).message)
    with LabelVideo(path) as video:
        assert [each.shape for each in video] == [(48, 64)] * 3
        assert max(each.max() for each in video) < 5


def test_only_the_classes_asked_for_are_in_it(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    [written] = maps(1, (48, 64), "people")
    write(path, [written], only=(2, 3))
    with LabelVideo(path) as video:
        np.testing.assert_array_equal(video[0], np.where(np.isin(written, (2, 3)), written, 0))


def test_a_full_disk_leaves_the_frames_that_fitted(small_disk):
    path = small_disk / "clip_labels.mkv"
    sink = LabelVideoSink(path, INFO)
    written = []
    with pytest.raises(OutputError, match=r"clip_labels.mkv can't be written: No space left"):
        for index, class_map in enumerate(maps(100, (240, 320), "noise")):
            sink.write(result(class_map=class_map, index=index, pts=index, time_base=Fraction(1, 25)))
            written.append(class_map)
    with pytest.raises(OutputError, match=r"clip_labels.mkv is cut short: No space left"):
        sink.close()
    assert [each.name for each in small_disk.iterdir()] == [path.name]
    with LabelVideo(path) as video:
        np.testing.assert_array_equal(np.stack(list(video)), np.stack(written))


def test_a_killed_process_leaves_all_it_wrote(tmp_path):
    script = f"""
import itertools, os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from tests.test_label_video import maps, write
write(Path({str(tmp_path / "clip_labels.mkv")!r}), maps(50, (17, 30), "people"), close=False)
os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode  # neither has Python's end come
    with LabelVideo(tmp_path / ".clip_labels.part.mkv") as video:
        np.testing.assert_array_equal(np.stack(list(video)), np.stack(list(maps(50, (17, 30), "people"))))


def test_lines_of_json_are_what_the_files_of_frames_hold(tmp_path):
    lines, files = (
        JsonLines(tmp_path / "clip.jsonl", title="t", regions="rle"),
        JsonSink(tmp_path, title="t", regions="rle"),
    )
    for index in range(5):
        each = result(f"clip/{index:06d}", index=index, pts=index, time_base=Fraction(1, 25))
        lines.write(each)
        files.write(each)
        [growing] = tmp_path.glob(".*jsonl")
        assert growing.read_bytes().count(b"\n") == index + 1
    lines.close()
    assert lines.written == [tmp_path / "clip.jsonl"]
    read = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_bytes().splitlines()]
    assert read == [json.loads((tmp_path / f"clip/{index:06d}.json").read_bytes()) for index in range(5)]


def test_a_full_disk_leaves_whole_lines(small_disk):
    sink = JsonLines(small_disk / "clip.jsonl", title="t")
    with pytest.raises(OutputError, match="No space left"):
        for index in range(1000):
            sink.write(result(size=(240, 320), index=index))
    with pytest.raises(OutputError, match=r"clip.jsonl is cut short: No space left"):
        sink.close()
    data = (small_disk / "clip.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert [json.loads(line)["frame"] for line in data.splitlines()] == list(range(data.count(b"\n")))


@pytest.mark.parametrize("name", ["clip_labels.mkv", "clip.jsonl"])
def test_what_a_disk_tells_when_a_file_is_closed_is_told_and_the_file_kept_for_resume(tmp_path, monkeypatch, name):
    make_late(monkeypatch, "sapiens_stream.sinks.growing", lambda path: 3000)
    path = tmp_path / name
    sink = LabelVideoSink(path, INFO) if path.suffix == ".mkv" else JsonLines(path, title="t")
    for index, class_map in enumerate(maps(20, (240, 320), "people")):
        sink.write(result(class_map=class_map, index=index, pts=index, time_base=Fraction(1, 25)))
    with pytest.raises(OutputError, match=rf"{name} can't be written: Disk quota exceeded"):
        sink.close()
    sink.close()
    assert sink.written == []
    assert [each.name for each in tmp_path.iterdir()] == [aside(path).name]


def test_the_space_it_takes_is_told_before(tmp_path):
    path = tmp_path / "clip_labels.mkv"
    written = list(maps(60, (240, 320), "people"))
    sink = write(path, written)
    first = Segmentation(
        frame=Frame(index=0, name="clip/000000", decoded=np.zeros((240, 320, 3), np.uint8)),
        class_map=written[0],
        classes=numbered(28),
    )
    assert sink.measure(first) * 60 == pytest.approx(path.stat().st_size, rel=0.1)
