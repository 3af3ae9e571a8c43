"""Colours: what frames say of them, HDR and wide gamut as SDR, and class colours in an HDR picture."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import which
from subprocess import run
from threading import Thread
from zlib import crc32

import av
import cv2
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS2
from sapiens_stream.colour.conversion import array_of, converted
from sapiens_stream.colour.light import hlg_light, hlg_signal, pq_light, pq_signal
from sapiens_stream.colour.matrix import from_codes, to_codes
from sapiens_stream.colour.meaning import Colour
from sapiens_stream.colour.planes import planes_of
from sapiens_stream.colour.sdr import sdr_frame
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.colour.tone_map import eetf, from_sdr, to_sdr
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.painting import Painter
from sapiens_stream.sinks.video.encoders import working
from sapiens_stream.sinks.video.painted_frames import FramePainter, painted_format
from sapiens_stream.sources import Photos, Video
from tests.hdr import DISPLAY, HLG, PQ, SDR, WIDE, shot, video_frame, write
from tests.heif import coded, colours, heif

SAMPLE = Path(__file__).parents[1] / "samples" / "astronaut.jpg"
PEOPLE_HLG = Path(__file__).parents[2] / "shared" / "cases" / "people_hlg.mp4"

KINDS = {
    "HLG": (HLG, "420"),
    "PQ": (PQ, "420"),
    "PQ, full range": (replace(PQ, full_range=True), "420"),
    "PQ, 12 bits": (replace(PQ, bits=12), "420"),
    "HLG, 8 bits": (replace(HLG, bits=8), "420"),
    "HLG, 4:2:2": (HLG, "422"),
    "PQ, 4:4:4, 12 bits": (replace(PQ, bits=12), "444"),
    "HLG in P3": (replace(HLG, primaries=12), "420"),
    "HLG in BT.709": (replace(HLG, primaries=1, matrix=1), "420"),
    "BT.2020, SDR": (WIDE, "420"),
    "BT.2020, SDR, 8 bits": (replace(WIDE, bits=8), "420"),
    "YCgCo": (Colour(matrix=8), "444"),
    "YCgCo, 10 bits, full range": (Colour(matrix=8, bits=10, full_range=True), "422"),
    "of P3's primaries": (Colour(matrix=12, primaries=12), "444"),
    "ICtCp": (replace(PQ, matrix=14), "420"),
}


def picture(size=(240, 320)):
    """A photo; its tones lie below those that the tone curve presses together, its colours within any gamut."""
    bgr = cv2.resize(cv2.imread(str(SAMPLE)), size[::-1], interpolation=cv2.INTER_AREA)
    return (cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) * 0.7).astype(np.uint8)


def frame_of(decoded, **more):
    return Frame(index=0, name="a", decoded=decoded, **more)


# Report BT.2408, tables 1 and 2: the signals of diffuse white (203 cd/m2), of an 18 % grey card (26 cd/m2), and more.
@pytest.mark.parametrize(
    "light_of, signal_of, signal, light, within",
    [
        (pq_light, pq_signal, 0.58, 203, 3),
        (pq_light, pq_signal, 0.38, 26, 1),
        (pq_light, pq_signal, 1, 10_000, 1e-6),
        (hlg_light, hlg_signal, 0.75, 203, 1),
        (hlg_light, hlg_signal, 0.38, 26, 1),
        (hlg_light, hlg_signal, 1, 1000, 0.1),
    ],
)
def test_light_is_what_the_recommendations_say(light_of, signal_of, signal, light, within):
    grey = light_of(np.full(3, float(signal)))
    assert grey == pytest.approx(np.full(3, light), abs=within)
    assert signal_of(grey) == pytest.approx(np.full(3, signal), abs=1e-4)


@pytest.mark.parametrize("peak", [150, 203, 400, 1000, 4000, 10_000])
def test_the_tone_curve_keeps_dark_tones_and_puts_the_peak_at_white(peak):
    signal = np.linspace(0, float(pq_signal(np.array(peak))), 1000)
    mapped = eetf(signal, peak)
    assert (np.diff(mapped) >= 0).all()
    assert (mapped <= signal + 1e-9).all()
    assert mapped[-1] == pytest.approx(float(pq_signal(np.array(min(peak, 203)))))
    knee = 1.5 * float(pq_signal(np.array(203.0))) - 0.5 * float(pq_signal(np.array(peak)))
    dark = signal < min(knee, signal[-1])
    assert mapped[dark] == pytest.approx(signal[dark])


@pytest.mark.parametrize("colour, subsampling", KINDS.values(), ids=KINDS.keys())
def test_an_sdr_picture_that_was_put_into_another_colour_comes_back(colour, subsampling):
    want = picture()
    got = frame_of(shot(want, colour, subsampling)).rgb
    difference = np.abs(cv2.blur(got, (4, 4)).astype(int) - cv2.blur(want, (4, 4)))
    # swscale is up to 2 levels dark; 8-bit signals of BT.2020 and chroma of half the size add their own.
    assert np.abs(got.astype(float) - want).mean() < 4
    assert np.percentile(difference, 95) <= 5


@pytest.mark.parametrize("colour", [HLG, PQ], ids=["HLG", "PQ"])
def test_bright_tones_are_pressed_together_in_order_and_white_stays_near_white(colour):
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(16, axis=0)
    levels = frame_of(shot(grey, colour, "444")).rgb[8].astype(int)
    assert (np.diff(levels.mean(1)) >= 0).all()
    assert np.abs(levels[:180] - np.arange(180)[:, None]).max() <= 4
    assert 222 <= levels[255].min() <= levels[255].max() <= 236
    assert len(np.unique(levels[180:, 1])) >= 40


@pytest.mark.parametrize("colour, subsampling", KINDS.values(), ids=KINDS.keys())
def test_the_fast_way_is_the_exact_one_within_the_eye_s_reach(colour, subsampling):
    frame = shot(picture(), colour, subsampling)
    y, *chroma = planes_of(frame)
    full = [cv2.resize(plane, y.shape[::-1], interpolation=cv2.INTER_LINEAR) for plane in chroma]
    codes = np.stack([y, *full], axis=-1).astype(float)
    exact = to_codes(to_sdr(np.clip(from_codes(codes, colour), 0, 1), colour), Colour(matrix=1))[..., 0]
    shown = sdr_frame(frame)
    assert (shown.colorspace, shown.color_primaries, shown.color_trc, shown.color_range) == (1, 1, 1, 1)
    difference = np.abs(planes_of(shown).y - exact)
    assert difference.mean() < 0.6 and np.percentile(difference, 99) < 5  # the latter at the edge of BT.709's gamut


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (37, 1), (35, 51), (36, 50)])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_any_size_is_converted(size, subsampling):
    rgb = np.full((*size, 3), (120, 90, 60), np.uint8)
    got = frame_of(shot(rgb, PQ, subsampling)).rgb
    assert got.shape == rgb.shape
    assert np.abs(got.astype(int) - rgb).max() <= 5


# Greens are what Cg is made of, and YCgCo's own arithmetic: H.273, equations 47 to 49.
def test_ycgco_is_what_the_recommendation_says():
    red, green, blue = 0.9, 0.4, 0.2
    y, cg, co = 0.5 * green + 0.25 * (red + blue), 0.5 * green - 0.25 * (red + blue), 0.5 * (red - blue)
    want = [y * 255, cg * 255 + 128, co * 255 + 128]
    assert to_codes(np.array([red, green, blue]), Colour(matrix=8, full_range=True)) == pytest.approx(want)


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le", "nv12", "yuva444p", "yuv411p", "uyvy422", "gbrp", "gray"])
@pytest.mark.parametrize("matrix", [8, 10, 11, 12, 13, 14, 15, 17, 200])
def test_no_matrix_and_format_are_refused(matrix, name):
    grey = video_frame(np.full((16, 32, 3), (126.0, 128.0, 128.0)), Colour(), "444")
    decoded = grey.reformat(format=name)
    decoded.colorspace = matrix
    colour = colour_of(decoded)
    assert bool(colour.unreadable) == (matrix not in (8, 12))
    assert np.abs(frame_of(decoded).rgb.astype(int) - 128).max() <= 3
    assert converted(decoded, "yuv422p12le").colorspace == matrix


@pytest.mark.parametrize("matrix", [8, 13, 14])
@pytest.mark.parametrize("depth, codec", [("", "libx264"), ("10le", "libx265")])
def test_what_is_written_of_a_video_of_any_matrix_has_one_that_players_take(tmp_path, program, matrix, depth, codec):
    colour = Colour(matrix=matrix, bits=10 if depth else 8)
    path = write(tmp_path / "a.mkv", [shot(picture(), colour, "444")] * 2)
    out = tmp_path / "out"
    how = ("--opacity", "0", "--codec", codec, "--matte", "prores4444", "--save", "none")
    assert program("video", path, "-o", out, *how).code == 0
    for written in (out / "a_overlay.mp4", out / "a_matte_prores4444.mov"):
        with Video(written) as video:
            frame = next(video.frames())
        assert frame.colour.plain_matrix
        assert np.abs(frame.rgb.astype(float) - picture()).mean() < 5


JOINED = {
    "BT.709, full range": Colour(matrix=1, full_range=True),
    "BT.601": Colour(matrix=6),
    "SDR, 10 bits": SDR,
    "HLG": HLG,
    "PQ": PQ,
    "BT.2020": WIDE,
    "YCgCo": Colour(matrix=8),
}


@pytest.mark.parametrize("later", JOINED.values(), ids=JOINED.keys())
@pytest.mark.parametrize("first", JOINED.values(), ids=JOINED.keys())
@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le"])
def test_what_is_joined_to_a_clip_has_its_colours(form, first, later):
    want = picture()
    frames = [frame_of(shot(want, colour, "444")) for colour in (first, later)]
    painter = FramePainter(Painter(SAPIENS2, opacity=0), frames[0], print, format=painted_format(form, frames[0]))
    nobody = np.zeros(want.shape[:2], np.uint8)
    painted = [painter.paint(Segmentation(frame=each, class_map=nobody, classes=SAPIENS2)) for each in frames]
    one, other = map(colour_of, painted)
    assert (one.matrix, one.hdr, one.full_range) == (other.matrix, other.hdr, other.full_range)
    for each in painted:
        assert np.abs(cv2.blur(frame_of(each).rgb, (4, 4)).astype(float) - cv2.blur(want, (4, 4))).mean() < 4


@pytest.mark.parametrize("first", JOINED.values(), ids=JOINED.keys())
@pytest.mark.parametrize("later", ["array", "gbrp", "rgb24"])
def test_rgb_that_is_joined_to_a_clip_has_its_colours_too(later, first):
    want = picture()
    rgb = av.VideoFrame.from_ndarray(want, "rgb24")
    frames = [frame_of(shot(want, first, "444")), frame_of(want if later == "array" else converted(rgb, later))]
    painter = FramePainter(Painter(SAPIENS2, opacity=0), frames[0], print, format="yuv420p10le")
    nobody = np.zeros(want.shape[:2], np.uint8)
    one, other = (painter.paint(Segmentation(frame=each, class_map=nobody, classes=SAPIENS2)) for each in frames)
    assert (colour_of(one).matrix, colour_of(one).hdr) == (colour_of(other).matrix, colour_of(other).hdr)
    assert np.abs(cv2.blur(frame_of(other).rgb, (4, 4)).astype(float) - cv2.blur(want, (4, 4))).mean() < 4


@pytest.mark.parametrize(
    "name", ["p010le", "gbrp10le", "x2rgb10le", "rgb48le", "yuva420p10le", "yuv444p16le", "yuv440p10le"]
)
def test_any_format_is_converted(name):
    want = picture()
    frame = shot(want, HLG, "444").reformat(format=name)
    assert np.abs(frame_of(frame).rgb.astype(float) - want).mean() < 5


def test_threads_that_convert_side_by_side_spoil_no_pixel():
    """swscale's own threads do: of 8 bits to 10, at this width, every seventh frame."""
    frames = [av.VideoFrame.from_ndarray(picture((91, 161)), "rgb24") for _ in range(8)]
    frames = [converted(frame, "yuv420p") for frame in frames]

    def planes(frame):
        return [np.array(plane) for plane in planes_of(converted(frame, "yuv444p10le"))]

    want = planes(frames[0])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(planes, frames * 40))
    assert all(np.array_equal(one, other) for each in found for one, other in zip(each, want, strict=True))


SAID = {
    "nothing": ({}, Colour(bits=10)),
    "BT.709": (
        {"colorspace": 1, "color_primaries": 1, "color_trc": 1},
        Colour(matrix=1, primaries=1, transfer=1, bits=10),
    ),
    "PQ alone": ({"color_trc": 16}, PQ),
    "HLG, full range": (
        {"colorspace": 9, "color_primaries": 9, "color_trc": 18, "color_range": 2},
        replace(HLG, full_range=True),
    ),
    "BT.2020, SDR": ({"colorspace": 9, "color_primaries": 9, "color_trc": 14}, WIDE),
}


@pytest.mark.parametrize("tags, want", SAID.values(), ids=SAID.keys())
def test_what_a_frame_says(tags, want):
    frame = av.VideoFrame(16, 16, "yuv420p10le")
    for name, value in tags.items():
        setattr(frame, name, value)
    assert colour_of(frame) == want


@pytest.mark.parametrize(
    "words, peak",
    [
        ("", 1000),
        (f"master-display={DISPLAY}", 1000),
        (f"master-display={DISPLAY}:max-cll=600,200", 600),
        ("max-cll=4000,9", 4000),
    ],
)
def test_the_peak_of_pq_is_what_its_metadata_say(tmp_path, words, peak):
    parameters = ":".join(filter(None, ["lossless=1:log-level=error", words]))
    frames = [shot(picture(), PQ) for _ in range(3)]
    path = write(tmp_path / "a.mp4", frames, "libx265", **{"x265-params": parameters})
    with Video(path) as video:
        frame = next(video.frames())
        assert frame.colour.peak == peak


SAME = {
    "untagged": Colour(bits=10),
    "BT.709, 10 bits": SDR,
    "BT.601, full range": Colour(matrix=6, primaries=6, transfer=6, full_range=True),
    "Display P3": Colour(matrix=1, primaries=12, transfer=13),
    "BT.2020's matrix alone": Colour(matrix=9),
}


@pytest.mark.parametrize("height, width", [(720, 1280), (3, 1000)])
def test_threads_that_share_a_frame_neither_wait_for_ever_nor_see_other_pixels_or_tags(height, width):
    decoded = av.VideoFrame(width, height, "yuv422p10le")
    for plane in planes_of(decoded):
        plane[:] = np.arange(plane.size).reshape(plane.shape) % 877 + 64
    decoded.colorspace, decoded.color_primaries, decoded.color_trc = 9, 9, 16
    said = colour_of(decoded)
    forms = ["rgb24", "rgb48le", "yuv444p"]
    want = {form: array_of(decoded, form) for form in forms}
    held = []

    def convert(form):
        for _ in range(30):
            held.append((array_of(decoded, form) == want[form]).all() and colour_of(decoded) == said)

    threads = [Thread(target=convert, args=[form], daemon=True) for form in forms * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(held) == 30 * len(threads) and all(held)
    assert colour_of(converted(decoded, "yuv444p12le")) == replace(said, bits=12)


@pytest.mark.parametrize("colour", SAME.values(), ids=SAME.keys())
def test_sdr_stays_as_it_is_to_the_bit(colour):
    decoded = video_frame(to_codes(picture() / 255, colour), colour)
    frame = frame_of(decoded)
    assert frame.sdr is decoded
    assert np.array_equal(frame.rgb, decoded.to_ndarray(format="rgb24"))
    canvas = np.empty((96, 64, 3), np.uint8)
    frame.draw((slice(10, 230), slice(0, 320)), canvas)
    assert np.array_equal(canvas, cv2.resize(frame.rgb[10:230], (64, 96), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("colour, subsampling", [(HLG, "420"), (PQ, "422"), (PQ, "444")])
def test_what_is_drawn_small_is_what_is_shown_large(colour, subsampling, turns):
    frame = frame_of(shot(picture(), colour, subsampling), quarter_turns=turns, mirrored=turns == 3)
    height, width = frame.size
    for seen in (slice(0, height), slice(0, width)), (slice(20, height - 20), slice(41, width - 30)):
        canvas = np.empty((112, 80, 3), np.uint8)
        frame.draw(seen, canvas)
        want = cv2.resize(frame.rgb[seen], (80, 112), interpolation=cv2.INTER_LINEAR)
        assert np.abs(cv2.blur(canvas, (5, 5)).astype(int) - cv2.blur(want, (5, 5))).mean() < 3


@pytest.mark.parametrize("colour", [HLG, PQ, WIDE], ids=["HLG", "PQ", "BT.2020"])
def test_classes_have_the_colours_in_hdr_that_they_have_elsewhere(colour):
    painter = Painter(SAPIENS2, opacity=1)
    class_map = np.repeat(np.arange(29, dtype=np.uint8), 8)[None].repeat(16, axis=0)
    planes = planes_of(video_frame(np.zeros((*class_map.shape, 3)), colour, "420"))
    painted = painter.paint_planes(
        planes, class_map, matrix=colour.matrix, primaries=colour.primaries, transfer=colour.transfer, bits=colour.bits
    )
    assert painted.y.dtype == np.uint16
    codes = np.stack([painted.y[0, 4::8], painted.u[0, 2::4], painted.v[0, 2::4]], axis=-1).astype(float)
    signal = from_codes(codes, colour)
    assert signal == pytest.approx(from_sdr(SAPIENS2.palette[:29] / 255, colour), abs=0.004)
    shown = to_sdr(np.clip(signal, 0, 1), replace(colour, peak=203.0)) * 255  # without a tone curve
    # In a saturated colour the darkest of the three channels hangs on the last bit of the others, out of sight.
    assert np.abs(shown - SAPIENS2.palette[:29]).mean(axis=0).max() < 3


class Stand:
    """A frame as a decoder gives it of profile 5: 10 bits, with Dolby's data, and without a word of its colours."""

    def __init__(self):
        self._frame = av.VideoFrame(16, 16, "yuv420p10le")
        self.side_data = {Type.DOVI_METADATA: b"data"}

    def reformat(self, *_, **__):
        return self

    def __getattr__(self, name):
        return getattr(self._frame, name)


def test_dolby_vision_without_a_picture_for_others_is_named():
    colour = colour_of(Stand())
    assert "profile 5" in colour.unreadable
    assert not colour.beyond_sdr


@pytest.fixture(scope="module")
def builtin():
    return Segmenter("builtin", device="cpu")


@pytest.mark.parametrize("colour", [HLG, PQ, WIDE], ids=["HLG", "PQ", "BT.2020"])
def test_the_model_sees_what_it_would_see_in_sdr(builtin, colour):
    rgb = cv2.cvtColor(cv2.imread(str(SAMPLE)), cv2.COLOR_BGR2RGB)
    decoded = shot(rgb, colour)
    want = builtin(rgb).class_map
    frame = frame_of(decoded)
    got = next(builtin.engine.run([[frame]]))[0].class_map
    assert mean_iou(got, want) > 0.9


def mean_iou(one, other):
    """Over the classes that cover a two-hundredth of the pictures or more."""
    shares = []
    for label in np.unique(other):
        either, both = (one == label) | (other == label), (one == label) & (other == label)
        if either.mean() >= 0.005:
            shares.append(both.sum() / either.sum())
    return np.mean(shares)


@pytest.mark.skipif(
    which("ffmpeg") is None or not PEOPLE_HLG.exists(), reason="needs the shared clip and ffmpeg's zscale"
)
@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084"])
def test_a_clip_agrees_with_what_zscale_makes_of_it(tmp_path, builtin, transfer):
    clip, sdr = tmp_path / "clip.mkv", tmp_path / "sdr.mkv"

    def ffmpeg(source, target, graph):
        done = run(["ffmpeg", "-v", "error", "-i", source, "-vf", graph, "-c:v", "ffv1", target], capture_output=True)
        if done.returncode:
            pytest.skip(f"ffmpeg: {done.stderr.decode().splitlines()[0]}")

    ffmpeg(PEOPLE_HLG, clip, f"zscale=t={transfer}:npl=203")
    linear = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius"
    ffmpeg(clip, sdr, f"{linear},zscale=t=bt709:m=bt709:r=tv,format=yuv420p")
    with Video(clip) as video, Video(sdr) as wanted:
        frames, references = list(video.frames()), list(wanted.frames())
    assert frames[0].colour.transfer in (16, 18)
    maps, targets = (
        np.stack([result.class_map for result in builtin.engine.run([[each] for each in some]) for result in result])
        for some in (frames, references)
    )
    assert mean_iou(maps, targets) > 0.9
    levels = [frame.rgb.astype(float).mean() for frame in (frames[0], references[0])]
    assert levels[0] == pytest.approx(levels[1], abs=15)


def png(path, decoded, cicp):
    """A PNG of 16 bits that says by the chunk cICP (PNG, third edition) what its numbers mean."""
    rgb = decoded.to_ndarray(format="rgb48le")
    cv2.imwrite(str(path), rgb[..., ::-1])
    content = path.read_bytes()
    chunk = b"cICP" + bytes(cicp)
    length, checksum = (number.to_bytes(4, "big") for number in (len(cicp), crc32(chunk)))
    path.write_bytes(content[:33] + length + chunk + checksum + content[33:])  # after the signature and IHDR


@pytest.mark.parametrize("kind", ["a.png", "a.heic", "a.avif"])
@pytest.mark.parametrize("colour", [PQ, HLG, replace(SDR, matrix=8)], ids=["PQ", "HLG", "YCgCo"])
def test_a_photo_in_other_colours_is_shown_as_sdr(tmp_path, colour, kind):
    want = picture()
    if kind == "a.png" and colour.matrix == 8:
        pytest.skip("a PNG is RGB")
    if kind == "a.png":
        png(tmp_path / kind, shot(want, colour, "444"), (9, colour.transfer, 0, 1))
    else:
        codec = "libx265" if kind == "a.heic" else "libsvtav1"
        if codec not in working():
            pytest.skip(f"{codec} does not work here")
        decoded = shot(want, colour)
        decoded.colorspace = decoded.color_primaries = decoded.color_trc = 2  # only the file says it
        says = colours(colour.primaries, colour.transfer, colour.matrix)
        (tmp_path / kind).write_bytes(
            heif(coded(decoded, codec), says, brand=b"heic" if codec == "libx265" else b"avif")
        )
    with Photos(tmp_path / kind) as photos:
        frame = next(photos.frames())
    assert np.abs(frame.rgb.astype(float) - want).mean() < 4
