"""Tell what a file holds by its first bytes; its name only decides what deserves a complaint."""

import os
import re
from typing import Literal

from sa2va_cli.results import MediaKind

HEAD_BYTES = 400  # two packets of an MPEG transport stream; everything else needs far less

ImageFormat = Literal[
    "JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIC", "JPEG2000", "JXL", "PPM"
]

# Values of the field "size of the info header" in real bitmaps: "BM" alone also begins sentences.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_IMAGE_STARTS: tuple[tuple[bytes, ImageFormat], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JXL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
)
_PPM_START = re.compile(rb"P[1-6]\s+[0-9#]")
_VIDEO_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1/2 video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x06\x0e\x2b\x34",  # MXF
    b"YUV4MPEG2",
    b"DKIF",  # IVF
    b".RMF",
)
# H.264 and HEVC without a container: a start code, then parameters or an access unit delimiter.
_BARE_STREAM_START = re.compile(rb"\x00{2,3}\x01(?:[\x27\x47\x67\x09]|[\x40\x46]\x01)")
_QUICKTIME_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | {".webp", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
VIDEO_SUFFIXES = frozenset(  # .ts and .mts are also TypeScript
    {".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v"}
    | {".mpg", ".mpeg", ".m2v", ".m2ts", ".3gp", ".3g2", ".ogv", ".mxf", ".vob", ".divx"}
    | {".h264", ".264", ".h265", ".265", ".hevc"}
)
# Sensor data in a TIFF coat: what a TIFF reader finds there is a thumbnail.
RAW_SUFFIXES = frozenset(
    {".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".pef"}
    | {".srw", ".3fr", ".fff", ".iiq", ".erf", ".kdc", ".dcr", ".mrw", ".raf", ".rwl"}
)


def suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def read_head(path: str) -> bytes:
    """The first bytes of a regular file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return os.read(descriptor, HEAD_BYTES)
    finally:
        os.close(descriptor)


def image_format(head: bytes) -> ImageFormat | None:
    for start, name in _IMAGE_STARTS:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if _PPM_START.match(head):
        return "PPM"
    if head[4:8] == b"ftyp" and head[0] == 0:
        return _isobmff_image(head)
    return None


def _isobmff_image(head: bytes) -> ImageFormat | None:
    length = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if head[8:12] in (b"avif", b"avis") or (head[8:12] in _HEIF_BRANDS and b"avif" in brands):
        return "AVIF"
    return "HEIC" if head[8:12] in _HEIF_BRANDS else None


def is_video(head: bytes) -> bool:
    """Containers that may hold moving pictures. Whether they do shows when they are opened."""
    if head.startswith(_VIDEO_STARTS) or _BARE_STREAM_START.match(head):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    # Text may hold these words, but no zeros. Pictures and sound (mdat) may take any length.
    if head[4:8] in _QUICKTIME_ATOMS and (head[0] == 0 or (head[4:8] == b"mdat" and 0 in head)):
        return not head.startswith((b"M4A ", b"M4B "), 8)
    if head[:4] == b"OggS":
        return b"theora" in head or b"fishead" in head
    return _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes 188 apart; Blu-ray and cameras put 4 bytes of time before each packet."""
    return head[0:1] == head[188:189] == head[376:377] == b"G" or (
        head[4:5] == head[196:197] == head[388:389] == b"G"
    )


def media_kind(head: bytes) -> MediaKind | None:
    if image_format(head):
        return "image"
    return "video" if is_video(head) else None


def is_camera_raw(path: str, head: bytes) -> bool:
    return suffix(path) in RAW_SUFFIXES and image_format(head) in (None, "TIFF")


def sounds_like_media(path: str) -> bool:
    return suffix(path) in IMAGE_SUFFIXES | VIDEO_SUFFIXES | RAW_SUFFIXES


def complaint(path: str, head: bytes) -> str:
    """Why a file that is no media cannot be used, as the end of a sentence about it."""
    if not head:
        return "it is empty (0 bytes)"
    if is_camera_raw(path, head):
        return "camera raw is not read; develop it to JPEG or TIFF first"
    name = suffix(path)
    named = f"it is named {name}, but " if name in IMAGE_SUFFIXES | VIDEO_SUFFIXES else "it "
    if _looks_like_text(head):
        return f"{named}holds text"
    return f"{named}holds neither a picture nor a video that is known here"


def _looks_like_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head[:-3].decode("utf-8")  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return True
