"""Kinds of picture files: those that are read, and those that are not but must not be passed over in silence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sapiens_stream.sources.tiff import first_directory, is_tiff


@dataclass(frozen=True)
class Kind:
    """A kind of picture file. `codec` is FFmpeg's name of its decoder; None where FFmpeg is not asked."""

    title: str
    codec: str | None = None
    read: bool = True


JPEG = Kind("JPEG", "mjpeg")
PNG = Kind("PNG", "png")
BMP = Kind("BMP", "bmp")
WEBP = Kind("WebP", "webp")
TIFF = Kind("TIFF", "tiff")
GIF = Kind("GIF", "gif")
JPEG_2000 = Kind("JPEG 2000", "jpeg2000")
PNM = Kind("PNM")
QOI = Kind("QOI", "qoi")
EXR = Kind("OpenEXR", "exr")
DPX = Kind("DPX", "dpx")
HEIF = Kind("HEIF")
RAW = Kind("camera raw", read=False)
JPEG_LS = Kind("JPEG-LS", read=False)
JPEG_XL = Kind("JPEG XL", read=False)
JPEG_XR = Kind("JPEG XR", read=False)
PSD = Kind("Photoshop", read=False)
RADIANCE = Kind("Radiance HDR", read=False)
CINEON = Kind("Cineon", read=False)
TARGA = Kind("Targa", read=False)

_READ = {
    JPEG: "jpg jpeg jpe jif jfif mpo insp",
    PNG: "png apng",
    BMP: "bmp dib",
    WEBP: "webp",
    TIFF: "tif tiff",
    GIF: "gif",
    JPEG_2000: "jp2 j2k j2c jpc jpf jpx",
    PNM: "pbm pgm ppm pnm",
    QOI: "qoi",
    EXR: "exr",
    DPX: "dpx",
    HEIF: "heic heif hif avif heics heifs avifs",
}
_NOT_READ = {
    RAW: "dng cr2 cr3 crw nef nrw arw sr2 srf orf ori rw2 rwl raf pef ptx srw 3fr fff iiq dcr kdc k25 mrw erf mef mos "
    "raw x3f gpr",
    JPEG_LS: "jls",
    JPEG_XL: "jxl",
    JPEG_XR: "jxr wdp hdp",
    PSD: "psd psb",
    RADIANCE: "hdr",
    CINEON: "cin",
    TARGA: "tga",
}

EXTENSIONS = frozenset(f".{each}" for names in _READ.values() for each in names.split())
ANIMATIONS = frozenset({".gif", ".apng"})
"""Kinds whose files often hold many pictures."""
KINDS_NOT_READ = {f".{each}": kind for kind, names in _NOT_READ.items() for each in names.split()}

_SIGNATURES = (
    (b"\xff\xd8\xff\xf7", JPEG_LS),
    (b"\xff\xd8", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF8", GIF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"qoif", QOI),
    (b"BM", BMP),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"II\xbc", JPEG_XR),
    (b"8BPS", PSD),
    (b"\x76\x2f\x31\x01", EXR),
    (b"#?RADIANCE", RADIANCE),
    (b"#?RGBE", RADIANCE),
    (b"SDPX", DPX),
    (b"XPDS", DPX),
    (b"\x80\x2a\x5f\xd7", CINEON),
    *((each, RAW) for each in (b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FUJIFILMCCD-RAW", b"FOVb", b"\x00MRM")),
)
_HEIF_BRANDS = (b"mif", b"msf", b"hei", b"hev", b"avi", b"mia", b"jpeg")
_DNG_VERSION = 50706
_SUBFILE_TYPE = 254


def is_photo(path: Path) -> bool:
    """Whether a name is that of a kind that is read, or should be reported; only decoding tells for certain."""
    return path.suffix.lower() in EXTENSIONS or path.suffix.lower() in KINDS_NOT_READ


def kind_of(content: bytes) -> Kind | None:
    """What the content is, whatever the file is called; None for no picture."""
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return WEBP
    if content[:1] == b"P" and content[1:2] in b"123456" and content[2:3].isspace():
        return PNM
    if content[4:8] == b"ftyp":
        size = int.from_bytes(content[:4], "big")
        brands = [content[at : at + 4] for at in (8, *range(16, min(size, 256), 4))]
        if b"crx " in brands:
            return RAW
        return HEIF if any(each.startswith(_HEIF_BRANDS) for each in brands) else None
    if is_tiff(content):
        return RAW if _is_raw(content) else TIFF
    return None


def not_read(kind: Kind) -> str:
    """Why a file of a kind that is not read is skipped."""
    return f"{kind.title} is not read; convert it to JPEG, PNG or TIFF"


def _is_raw(content: bytes) -> bool:
    """Raw files are TIFF too, with a small preview where others have their picture."""
    directory = first_directory(content)
    return content[8:10] == b"CR" or _DNG_VERSION in directory or bool(directory.get(_SUBFILE_TYPE, 0) & 1)
