"""The video encoders that an overlay can be written with: their containers, settings, and whether they work here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.codec import Codec
from av.video.codeccontext import VideoCodecContext

from sapiens_stream.cores import limited_cores
from sapiens_stream.errors import AT_A_LIMIT, OutputError, UsageError
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.settings import PRESET, USUAL_PIXELS
from sapiens_stream.sinks.video.scheduling import kept_scheduling

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
"""x264's words from fast to small; other encoders get what comes closest."""

_SVT_AV1_PRESETS = ("9", "9", "8", "7", "6", "5", "4", "3", "2")  # from 10 on it warns of artefacts
_SVT_AV1_MOST = 6  # levels of parallelism, of which the first are cores
_NVENC_PRESETS = ("p1", "p1", "p2", "p3", "p3", "p4", "p5", "p6", "p7")
# How many pictures are collected before one is coded, by preset, and the option that has it as "rc-lookahead".
_LOOKAHEADS = {
    "libx264": ("x264-params", (0, 0, 10, 20, 30, 40, 50, 60, 60)),
    "libx265": ("x265-params", (5, 10, 15, 15, 15, 20, 25, 40, 40)),
}
_MOST_COLLECTED, _BYTES_COLLECTED = 1 << 29, 2.5  # bytes; those of a pixel, with its smaller copies
_LEAST_LOOKAHEAD = 5  # x265 wants more than the pictures that it codes both ways
_VPX_SPEEDS = ("8", "7", "6", "5", "4", "3", "2", "1", "0")


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What must be known of an encoder. `crf_range` is (lowest, default, highest), None where it has no such thing.

    `presets` are its words for `PRESETS`. `bytes_per_pixel` of a frame is for the estimate before a run: what videos of
    moderate motion take at the default quality, and as much again in an mp4 or mov, which is finished in a copy.
    `deep` is the pixel format for sources of more than 8 bits, where players of its videos take that. H.264 has none.
    """

    extension: str = ".mp4"
    in_mov: bool = True
    """Whether mov holds what mp4 does."""
    crf_option: str = "crf"
    crf_range: tuple[int, int, int] | None = None
    gpu_option: str | None = None
    """Says on which card it encodes, if it does on one."""
    preset_option: str = "preset"
    presets: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    tag: str | None = None
    bytes_per_pixel: float = 0.03
    largest: int = 65535
    """The longest side that it takes, pixels."""
    smallest: int = 1
    """The shortest, by trial: x265 refuses less, SVT-AV1 waits for ever where one side alone is shorter."""
    deep: str | None = None

    def settings(self, crf: int | None, preset: str, *, gpu: int | None = None) -> dict[str, str]:
        """The options to open it with; `gpu` is the number of a CUDA card, for those that encode on one.

        Raises UsageError for a `crf` or `preset` that it does not have.
        """
        settings = dict(self.options)
        if gpu is not None and self.gpu_option is not None:
            settings[self.gpu_option] = str(gpu)
        if self.crf_range is not None:
            lowest, default, highest = self.crf_range
            if crf is not None and not lowest <= crf <= highest:
                raise UsageError(f"crf {crf} is outside {lowest} to {highest}")
            settings[self.crf_option] = str(default if crf is None else crf)
        elif crf is not None:
            raise UsageError(f"crf {crf} was given, but the encoder has no such setting")
        if preset not in PRESETS and preset not in self.presets:
            raise UsageError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
        if self.presets:
            settings[self.preset_option] = self.presets[PRESETS.index(preset)] if preset in PRESETS else preset
        return settings


def _nvenc(default: int, tag: str | None = None, deep: str | None = None, in_mov: bool = True) -> Encoder:
    return Encoder(
        in_mov=in_mov,
        crf_option="cq",
        crf_range=(1, default, 51),  # not from 0, by which it means that it chooses
        gpu_option="gpu",
        presets=_NVENC_PRESETS,
        options={"rc": "vbr"},
        tag=tag,
        deep=deep,
    )


# The tag "hvc1" is the one of the two for HEVC that Apple's players take.
ENCODERS: Mapping[str, Encoder] = {
    # Its mbtree by AVX-512 gives now one video, now another, of the same pictures; without, it takes the same time.
    "libx264": Encoder(
        crf_range=(0, 23, 51), presets=PRESETS, options={"x264-params": "cpu-independent=1"}, largest=16384
    ),
    "libx265": Encoder(
        crf_range=(0, 28, 51),
        presets=PRESETS,
        options={"x265-params": "log-level=error"},
        tag="hvc1",
        smallest=16,
        deep="yuv420p10le",
    ),
    "libsvtav1": Encoder(
        in_mov=False,
        crf_range=(0, 35, 63),
        presets=_SVT_AV1_PRESETS,
        largest=16384,
        smallest=32,
        deep="yuv420p10le",
    ),
    "libvpx-vp9": Encoder(
        extension=".webm",
        crf_range=(0, 32, 63),
        preset_option="cpu-used",
        presets=_VPX_SPEEDS,
        options={"deadline": "realtime", "row-mt": "1"},
        deep="yuv420p10le",
    ),
    "h264_nvenc": _nvenc(23),
    "hevc_nvenc": _nvenc(28, tag="hvc1", deep="p010le"),
    "av1_nvenc": _nvenc(35, deep="p010le", in_mov=False),
    "h264_videotoolbox": Encoder(),
    "hevc_videotoolbox": Encoder(tag="hvc1", deep="p010le"),
    "prores_ks": Encoder(extension=".mov", bytes_per_pixel=0.9, deep="yuv422p10le"),
    "ffv1": Encoder(extension=".mkv", bytes_per_pixel=0.7, deep="yuv420p10le"),
}


LIMITED_RANGE_ALONE = frozenset({"prores_ks"})
"""Encoders in whose videos nothing can say that pixels are of full range."""


def encoder_named(codec: str) -> Encoder:
    """Raises UsageError for a name that is not in `ENCODERS`, naming those that work here."""
    if codec not in ENCODERS:
        raise UsageError(f"no codec {codec!r}; those that work here are {', '.join(working())}")
    return ENCODERS[codec]


def require_size(codec: str, size: tuple[int, int], path: Path) -> None:
    """Raises OutputError for a video at `path` of a `size`, (height, width), that the encoder does not take."""
    encoder = encoder_named(codec)
    if _takes(encoder, size):
        return
    others = [name for name in working() if _takes(encoder_named(name), size)]
    offer = f"; --codec {' or '.join(others[:2])} takes it" if others else ""
    held = f"up to {encoder.largest}" if max(size) > encoder.largest else f"no fewer than {encoder.smallest}"
    raise OutputError(
        f"{path} can't be written: {codec} holds {held} pixels a side, this is {size[1]}x{size[0]}{offer}"
    )


def kept_to_quota(codec: str, options: Mapping[str, str]) -> dict[str, str]:
    """The `options` of an encoder, which by itself takes a thread and more for each core, whatever a quota leaves."""
    if (cores := limited_cores()) is None:
        return dict(options)
    kept = {**options, "threads": str(cores)}
    match codec:  # whose pools are their own
        case "libx265":
            kept["x265-params"] = f"{options['x265-params']}:pools={cores}"
        case "libsvtav1":
            kept["svtav1-params"] = f"lp={min(cores, _SVT_AV1_MOST)}"
    return kept


def kept_in_memory(codec: str, options: Mapping[str, str], size: tuple[int, int]) -> dict[str, str]:
    """The `options` of an encoder for pictures of a `size`, (height, width): of very large ones it collects fewer."""
    pixels = size[0] * size[1]
    if codec not in _LOOKAHEADS or pixels <= USUAL_PIXELS:
        return dict(options)
    name, usual = _LOOKAHEADS[codec]
    most = int(_MOST_COLLECTED / (pixels * _BYTES_COLLECTED))
    lookahead = usual[PRESETS.index(options["preset"])]
    if most < _LEAST_LOOKAHEAD and codec == "libx264":
        # No level of H.264 has such pictures. Those coded both ways would wait with all their copies: 50 bytes a pixel.
        return {**options, name: f"{options[name]}:rc-lookahead={min(most, lookahead)}:bframes=0"}
    most = max(_LEAST_LOOKAHEAD, most)
    if lookahead <= most:
        return dict(options)
    return {**options, name: f"{options[name]}:rc-lookahead={most}"}


def kept_in_one_slice(codec: str, options: Mapping[str, str], size: tuple[int, int]) -> dict[str, str]:
    """The `options` of an encoder for pictures of a `size`, (height, width): FFV1 finds no slices of one column."""
    return {**options, "slices": "1"} if codec == "ffv1" and size[1] == 1 else dict(options)


def _takes(encoder: Encoder, size: tuple[int, int]) -> bool:
    return encoder.smallest <= min(size) and max(size) <= encoder.largest


def container_for(codec: str) -> str:
    """The extension of the container that an encoder's videos go into.

    Args:
        codec: the encoder, by FFmpeg's name.

    Returns:
        ".mp4", ".mov", ".mkv" or ".webm".

    >>> container_for("libvpx-vp9")
    '.webm'
    """
    return encoder_named(codec).extension


def require_fitting(codec: str, path: Path) -> None:
    """Raises UsageError where a file of that ending does not hold the encoder's videos, naming those that do."""
    extension = container_for(codec)
    mov = (".mov",) if extension == ".mp4" and encoder_named(codec).in_mov else ()
    fitting = tuple(dict.fromkeys((extension, *mov, ".mkv")))
    if path.suffix.lower() not in fitting:
        raise UsageError(f"{path}: a video by {codec} goes into {' or '.join(fitting)}")


def require_working(codec: str) -> None:
    """Raises UsageError where this build or machine does not have the encoder, naming those that work; OutputError for
    one in software that cannot be opened nevertheless."""
    encoder_named(codec)
    if (problem := _problem(codec)) is not None:
        if codec in av.codecs_available and in_software(codec):
            # Others are not tried: x265 waits for ever for a thread that could not be started.
            raise OutputError(f"codec {codec} does not work now: {problem}; {AT_A_LIMIT}")
        raise UsageError(f"codec {codec} does not work here ({problem}); those that do are {', '.join(working())}")


def working() -> list[str]:
    """The names of the encoders that this build and machine have."""
    return [name for name in ENCODERS if _problem(name) is None]


def pixel_format(codec: str, *, deep: bool = False) -> str:
    """yuv420p, which plays everywhere, where the encoder takes it; else the format that it names first.

    For a `deep` source, of more than 8 bits, one that keeps 10, where this build of the encoder has it.
    """
    names = [each.name for each in Codec(codec, "w").video_formats or ()]
    if deep and ENCODERS[codec].deep in names:
        return str(ENCODERS[codec].deep)
    return "yuv420p" if "yuv420p" in names or not names else names[0]


def _problem(codec: str) -> str | None:
    """What opening the encoder fails with. A build knows hardware encoders that its machine lacks, so each is tried."""
    keep_quiet()
    try:
        context = av.CodecContext.create(codec, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = 320, 240
        context.pix_fmt = pixel_format(codec)
        context.framerate = context.time_base = 25  # type: ignore[assignment]
        context.options = kept_to_quota(codec, ENCODERS[codec].settings(None, PRESET))
        with kept_scheduling():
            context.open()
    except av.codec.codec.UnknownCodecError:
        return "it is not in this build of FFmpeg"
    except (av.FFmpegError, OSError) as error:
        return f"it can't be opened: {getattr(error, 'strerror', None) or error}{about_hardware(codec)}"
    return None


def in_software(codec: str) -> bool:
    """Whether the processor encodes, so that nothing but memory and threads can be missing."""
    return not codec.endswith(("_nvenc", "_videotoolbox"))


def about_hardware(codec: str) -> str:
    """What is to be said where a hardware encoder does not work, to be appended to the reason; else nothing."""
    return "; H100, H200 and A100 cards have no video encoder" if codec.endswith("_nvenc") else ""
