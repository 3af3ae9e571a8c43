"""A video in parts, each decoded by itself: their frames together are those of the whole."""

import hashlib
from fractions import Fraction

import pytest

from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame
from sapiens_stream.settings import frame_name
from sapiens_stream.sources import Video
from sapiens_stream.sources.demux import Mark
from sapiens_stream.sources.key_frames import find_key_frames
from sapiens_stream.sources.parts import Margin, VideoPart
from tests.media import make_video

OPEN = {"x264-params": "open-gop=1:keyint=25:min-keyint=25:bframes=3:scenecut=0"}
HEVC = {"x265-params": "open-gop=1:keyint=25:log-level=none"}
CLIPS = {
    "B-frames": ("clip.mp4", {"b_frames": 3, "options": {"g": "25"}}),
    "VFR": ("clip.mkv", {"vfr": True, "options": {"g": "25"}}),
    "VFR, open GOP, MP4": ("clip.mp4", {"vfr": True, "options": OPEN}),
    "late start, MP4": ("clip.mp4", {"start": 7, "options": OPEN}),
    "late start, transport stream": ("clip.ts", {"start": 7, "options": OPEN}),
    "open GOP, MP4": ("clip.mp4", {"options": OPEN}),
    "open GOP, Matroska": ("clip.mkv", {"options": OPEN}),
    "open GOP, transport stream": ("clip.ts", {"options": OPEN}),
    "renewed bit by bit": ("clip.mkv", {"options": {"x264-params": "keyint=25:intra-refresh=1"}}),
    "open GOP, HEVC": ("clip.mp4", {"codec": "libx265", "options": HEVC}),
    "odd size, each a key frame": ("clip.mkv", {"codec": "ffv1", "size": (97, 161), "options": {"g": "1"}}),
    "no presentation times": ("clip.avi", {"codec": "mpeg4", "b_frames": 2, "options": {"g": "25"}}),
    "no presentation times, H.264": ("clip.avi", {"b_frames": 2, "options": {"g": "25"}}),
    "a fragmented MP4": ("clip.mp4", {"options": {"g": "25"}, "fragmented": True}),
    "interlaced": ("clip.ts", {"codec": "mpeg2video", "interlaced": True, "options": {"g": "25"}}),
    "turned": ("clip.mp4", {"rotation": 90, "options": {"g": "25"}}),
    "late start": ("clip.mkv", {"start": 7, "options": {"g": "25"}}),
    "VP9": ("clip.webm", {"codec": "libvpx-vp9", "options": {"g": "25", "deadline": "realtime", "cpu-used": "8"}}),
    "joined recordings": ("clip.ts", {"options": OPEN, "joined": True}),
}
FRAMES = 200


@pytest.fixture(scope="module", params=CLIPS.values(), ids=CLIPS.keys())
def clip(request, tmp_path_factory):
    name, how = request.param
    how = dict(how)
    joined, fragmented = how.pop("joined", False), how.pop("fragmented", False)
    path = tmp_path_factory.mktemp("clip") / name
    make_video(path, frames=FRAMES, **({"fragmented": True} if fragmented else {}), **how)
    if joined:
        path.write_bytes(path.read_bytes() * 2)
    return path


def seen(frame):
    picture = hashlib.sha256(frame.rgb.tobytes()).hexdigest()
    return frame.time, frame.duration, frame.size, frame.quarter_turns, picture


def frames_of(path, part):
    """Those of a part, the others that come with them, and the number of the first of these."""
    with VideoPart(path, part) as source:
        frames = [each for each in source.frames() if isinstance(each, Frame)]
        first = frames[0].index
        assert [frame.index for frame in frames] == list(range(first, first + len(frames)))
        assert [frame.name for frame in frames] == [frame_name("clip", frame.index) for frame in frames]
        own = [seen(frame) for frame in frames if source.is_kept(frame)]
        return own, [seen(frame) for frame in frames], first, source.began, source.following


def test_the_frames_of_parts_are_those_of_the_whole(clip):
    with Video(clip) as video:
        whole = [seen(frame) for frame in video.frames() if isinstance(frame, Frame)]
    parts = find_key_frames(clip).parts(6, Margin(before=3, after=3))
    assert len(parts) > 2 and any(part.mark is not None for part in parts)
    found, expected = [], None
    for part in parts:
        own, around, first, began, following = frames_of(clip, part)
        assert expected in (None, began) and first == max(0, len(found) - 3)
        assert around == whole[max(0, len(found) - 3) : len(found) + len(own) + 3]
        found += own
        expected = following
    assert expected is None
    assert found == whole


def test_there_are_no_more_parts_than_key_frames(tmp_path):
    path = make_video(tmp_path / "clip.mp4", frames=60, options={"g": "50"})
    parts = find_key_frames(path).parts(1000)
    assert [(part.number, part.count) for part in parts] == [(0, 2), (1, 2)]
    assert sum(part.frames for part in parts) == 60


def test_a_seek_that_leads_past_the_mark_is_not_believed(tmp_path):
    path = make_video(tmp_path / "clip.mp4", frames=FRAMES, options={"g": "25"})
    key_frames = find_key_frames(path)
    last = key_frames.parts(4)[-1]
    right = frames_of(path, last)[0]
    wrong = Mark(None, last.mark.dts + 1, last.mark.place)
    assert frames_of(path, type(last)(**{**vars(last), "mark": wrong}))[0] == right


def test_what_has_no_times_is_not_read_in_parts(tmp_path):
    path = make_video(tmp_path / "clip.h264", frames=30, format="h264")
    with pytest.raises(InputError, match="no key frame with a time"):
        find_key_frames(path)


@pytest.mark.parametrize(
    ("margin", "least"),
    [
        (Margin(), 0),
        (Margin(before=3), 3),
        (Margin(before=40, after=40), 40),
        (Margin(seconds=Fraction(3, 2)), 37),
        (Margin(seconds=Fraction(3, 2), before=30), 67),
    ],
)
def test_all_of_a_margin_is_seen_and_is_sound(margin, least, tmp_path):
    """However near its key frames are."""
    path = make_video(tmp_path / "clip.mp4", frames=320, options=OPEN)
    with Video(path) as video:
        whole = [seen(frame) for frame in video.frames() if isinstance(frame, Frame)]
    part = find_key_frames(path).parts(4, margin)[-1]
    own, around, first, _, _ = frames_of(path, part)
    assert part.mark is not None and len(whole) - len(own) - first >= least
    assert around == whole[first:]
