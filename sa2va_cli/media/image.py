"""Any still picture as upright 8-bit RGB pixels, or a MediaError that says what is wrong."""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from sa2va_cli.errors import MediaError
from sa2va_cli.media import sniff
from sa2va_cli.media.item import printable

MAX_PIXELS = 2**28  # 268 million: a 200-megapixel phone photo passes, a decompression bomb does not

_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG = 262  # of TIFFs; 0: the lowest value is white
_UPRIGHT = {  # EXIF orientation -> how to turn the stored picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers raise for files that are not what they claim to be; found by spoiling files.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# Warning filters are the process's, hence the lock. Decoding runs outside of it, but for TIFFs.
_FILTERS = threading.Lock()


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """Pixels and what a careful reader should know about how they were made."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, EXIF orientation applied
    notes: tuple[str, ...] = ()  # "first of 12 frames", …


def load_image(path: str, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """The first picture of a file. Transparent parts are laid on white; ICC profiles are ignored.

    Raises MediaError for a missing, broken, truncated, unknown or too large picture, MemoryError
    where there is no room for its pixels now.
    """
    try:
        with Path(path).open("rb") as file:
            image = _open(file, path, max_pixels)
            _decode(image, path)
            orientation, notes = _orientation(image)
            flat, more = _flatten(image, path)
            upright = flat if orientation is None else flat.transpose(orientation)
            return LoadedImage(np.array(upright), (*notes, *more, *_other_frames(image)))
    except OSError as error:
        raise MediaError(f"{printable(path)} cannot be read: {error.strerror or error}.") from None


def _open(file: BinaryIO, path: str, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header, with the one reader that the first bytes call for.

    Not by Image.open: it holds a fixed pixel limit of the process, and tries every reader.
    """
    head = file.read(sniff.HEAD_BYTES)
    name = sniff.image_format(head)
    if name is None or sniff.is_camera_raw(path, head):
        reason = "it is a video" if sniff.is_video(head) else sniff.complaint(path, head)
        raise MediaError(f"{printable(path)} is no picture: {reason}.")
    if name not in Image.OPEN:
        Image.init()
    if name not in Image.OPEN:
        raise MediaError(
            f"{printable(path)} is a {name} picture, and there is no reader for these.",
            hint="convert it to JPEG or PNG",
        )
    file.seek(0)
    with _without_warnings():
        try:
            image = Image.OPEN[name][0](file, path)
        except (*_BROKEN, MemoryError) as error:  # a header has no use for much of it
            raise _damaged(path, error) from None
    if image.width * image.height > max_pixels:
        raise MediaError(
            f"{printable(path)} has {image.width} x {image.height} pixels, more than the limit of "
            f"{max_pixels:,}.",
            hint="make it smaller, or raise the limit (--max-pixels)",
        )
    return image


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns about odd headers: what matters of that becomes a note or an error."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode(image: ImageFile.ImageFile, path: str) -> None:
    """Once only: Pillow forgets that a picture is broken, and gives half of it the second time."""
    with _tags_read_again() if image.format == "TIFF" else nullcontext():
        try:
            image.load()
        except _BROKEN as error:
            raise _damaged(path, error) from None


@contextmanager
def _tags_read_again() -> Iterator[None]:
    """After the pixels, with the same warnings, and with a look at Pillow's own pixel limit, which
    is the process's; ours has been looked at.
    """
    with _without_warnings():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _damaged(path: str, error: Exception) -> MediaError:
    if isinstance(error, MemoryError | Image.DecompressionBombError):
        return MediaError(f"{printable(path)} has too many pixels for memory: {error}")
    if "truncated" in str(error) or isinstance(error, EOFError):
        return MediaError(f"{printable(path)} is truncated: its data end too early.")
    return MediaError(f"{printable(path)} is damaged: {str(error).strip('.') or 'unreadable'}.")


def _orientation(image: Image.Image) -> tuple[Image.Transpose | None, tuple[str, ...]]:
    with _without_warnings():
        try:
            return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1)), ()
        except _BROKEN:
            return None, ("the EXIF data are broken, taken as upright",)


def _flatten(image: Image.Image, path: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Any mode to 8-bit RGB without transparency, not yet upright."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, note = _eight_bits(np.asarray(image))
        if _lowest_is_white(image):
            grey = 255 - grey
        return Image.fromarray(grey).convert("RGB"), (note,)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    try:
        return image.convert("RGB"), ()
    except ValueError:
        raise MediaError(
            f"{printable(path)} has the colour mode {image.mode}, which is not read.",
            hint="convert it to an RGB picture",
        ) from None


def _lowest_is_white(image: Image.Image) -> bool:
    """Of greys with more than 8 bits; those with fewer Pillow inverts by itself."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC_TAG) == 0


def _eight_bits(values: np.ndarray) -> tuple[np.ndarray, str]:
    """(H, W) of any number type -> uint8, scaled, never clipped."""
    unsigned_16 = values.dtype.newbyteorder("=") == np.uint16  # files have both byte orders
    if unsigned_16 or (values.dtype.kind == "i" and _within(values, 0, 0xFFFF)):
        scaled = (values.astype(np.uint32) * 255 + 0x7FFF) // 0xFFFF
        return scaled.astype(np.uint8), "16-bit grey values scaled from 0..65535 to 8 bits"
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (0.0, 1.0) if _within(finite, 0, 1) else (float(finite.min()), float(finite.max()))
    scaled = np.rint((finite - low) * (255 / (high - low) if high > low else 0.0))
    return scaled.astype(np.uint8), f"grey values scaled from {low:g}..{high:g} to 8 bits"


def _within(values: np.ndarray, low: float, high: float) -> bool:
    return bool(values.min() >= low and values.max() <= high)


def _on_white(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    lowest, _ = image.getchannel("A").getextrema()
    if lowest == 255:
        return image.convert("RGB"), ()
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB"), ("transparent parts laid on white",)


def _other_frames(image: Image.Image) -> tuple[str, ...]:
    """Phones put previews and depth behind a photo (MPO): these are not worth a word."""
    if image.format == "MPO":
        return ()
    with _without_warnings():
        try:
            count = getattr(image, "n_frames", 1)
        except _BROKEN:
            return ("first of several frames",)
    return (f"first of {count} {'pages' if image.format == 'TIFF' else 'frames'}",) * (count > 1)
