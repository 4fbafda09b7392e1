"""Regions of pictures, read from mask PNGs or from a COCO file."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from sa2va_cli.errors import MediaError, UsageError

MAX_REGIONS = 100  # a "label map" with more values is a grey picture
_VOID = 255  # in palette PNGs of PASCAL VOC and its like: the outlines, belonging to nothing
_HINT = "give a folder of mask PNGs laid out like the pictures, or a COCO .json file"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture, and what its file calls it."""

    mask: np.ndarray  # (H, W) bool, of the upright picture; the model scales it as it needs
    name: str  # "3" for value 3 of a label map, "12" for annotation 12, "left" for left.png


class RegionSource(Protocol):
    def regions(self, item_id: str) -> tuple[Region, ...]:
        """The regions of one image; empty when the source has none. MediaError if unreadable."""
        ...

    def mark(self, item_id: str) -> str:
        """16 hex digits that change when the regions of this image do."""
        ...


def check_proportions(regions: Iterable[Region], height: int, width: int) -> None:
    """A mask may be smaller or larger than its picture, but not of another shape.

    Raises MediaError: it was drawn on another picture, or on this one before it was turned upright.
    """
    for region in regions:
        rows, columns = region.mask.shape
        if abs(rows * width - columns * height) > width + height:  # a pixel of rounding each way
            raise MediaError(
                f"The mask of region {region.name} has {columns} x {rows} pixels, "
                f"its picture {width} x {height}.",
                hint="draw regions on the picture as viewers show it: upright, and all of it",
            )


def open_regions(path: Path) -> RegionSource:
    """A folder of PNGs or a COCO .json file. Raises UsageError when it is neither."""
    # Path.is_dir and Path.is_file raise for names that are too long for a file.
    if os.path.isdir(path):
        return PngRegions(path)
    if os.path.isfile(path):
        return CocoRegions(path)
    raise UsageError(f"There are no regions in {path}.", hint=_HINT)


class PngRegions:
    """A tree of PNGs like that of the pictures.

    For a/b.jpg the regions are in a/b.png or a/b.jpg.png (a mask, or a label map with a region
    for each value but 0), or in the PNGs of the folder a/b or a/b.jpg, one region each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def regions(self, item_id: str) -> tuple[Region, ...]:
        paths, one_each = self._files(item_id)
        if one_each:
            return _drawn(Region(_values(path)[0] != 0, path.stem) for path in paths)
        return read_regions(paths[0]) if paths else ()

    def mark(self, item_id: str) -> str:
        """By names, lengths and times, as for the pictures themselves."""
        paths, _ = self._files(item_id)
        there = [(path.name, path.stat()) for path in paths if path.is_file()]
        return _digest([(name, status.st_size, status.st_mtime_ns) for name, status in there])

    def _files(self, item_id: str) -> tuple[list[Path], bool]:
        """The PNGs of one image, and whether each is one region."""
        whole, stem = self.folder / item_id, (self.folder / item_id).with_suffix("")
        for path in (whole.with_name(f"{whole.name}.png"), stem.with_name(f"{stem.name}.png")):
            if os.path.isfile(path):  # ".png" may make the name too long
                return [path], False
        for folder in (whole, stem):
            if os.path.isdir(folder):
                return sorted(folder.glob("*.png")), True
        return [], False


def read_regions(path: Path) -> tuple[Region, ...]:
    """A mask, or a label map: one region for each value but 0, in the order of values.

    Raises MediaError if the picture cannot be read or is neither.
    """
    values, is_palette = _values(path)
    labels = [int(value) for value in np.unique(values) if value]
    if is_palette and len(labels) > 1:
        labels = [label for label in labels if label != _VOID]
    if len(labels) > MAX_REGIONS:
        raise MediaError(
            f"{path} has {len(labels)} different values: it is no label map.",
            hint="masks are black and white, label maps have a value for each region",
        )
    return tuple(Region(values == label, str(label)) for label in labels)


def _values(path: Path) -> tuple[np.ndarray, bool]:
    """(H, W) integers, 0 for background, and whether they index a palette.

    The colours of an RGB picture are taken as labels: black is background.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("1", "L", "P", "I", "I;16"):
                return np.asarray(image).astype(np.int64), image.mode == "P"
            colours = np.asarray(image.convert("RGB")).astype(np.int64)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"The regions in {path} cannot be read: {error}.") from None
    return colours @ np.array([0x10000, 0x100, 1]), False


class CocoRegions:
    """The annotations of a COCO file, found by the file name of their image.

    A name matches when it equals the item's id, or when one is the end of the other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: dict[str, list[dict[str, Any]]] = defaultdict(list)
        data = _read_coco(path)
        try:
            for image in data["images"]:
                self.images[PurePosixPath(image["file_name"]).name].append(image)
            self.annotations: dict[int, list[dict[str, Any]]] = {
                image["id"]: [] for image in data["images"]
            }
            for annotation in data["annotations"]:
                self.annotations.setdefault(annotation["image_id"], []).append(annotation)
        except (LookupError, TypeError) as error:
            raise UsageError(f"{path} is no COCO file: {error!r}.", hint=_HINT) from None

    def regions(self, item_id: str) -> tuple[Region, ...]:
        image = self._image(item_id)
        if image is None:
            return ()
        return _drawn(self._region(one, image) for one in self.annotations[image["id"]])

    def mark(self, item_id: str) -> str:
        """By all that the file says about the image."""
        try:
            image = self._image(item_id)
        except MediaError as error:  # told when the image is asked about
            return _digest(str(error))
        annotations = self.annotations[image["id"]] if image else []
        return _digest([image, annotations])

    def _image(self, item_id: str) -> dict[str, Any] | None:
        candidates = self.images.get(PurePosixPath(item_id).name, [])
        exact = [image for image in candidates if image["file_name"] == item_id]
        matching = exact or [i for i in candidates if _same_end(i["file_name"], item_id)]
        if len(matching) > 1:
            raise MediaError(
                f"{self.path} has {len(matching)} images that may be {item_id}.",
                hint="name the inputs so that their paths are those of the COCO file",
            )
        return matching[0] if matching else None

    def _region(self, annotation: dict[str, Any], image: dict[str, Any]) -> Region:
        name = str(annotation.get("id", "without id"))
        try:
            mask = _coco_mask(annotation, (image["height"], image["width"]))
        except (LookupError, TypeError, ValueError) as error:
            raise MediaError(f"Annotation {name} of {self.path} is broken: {error!r}.") from None
        if mask is None:
            raise MediaError(f"Annotation {name} of {self.path} has no segmentation.")
        return Region(mask, name)


def _drawn(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Without those of no pixel: there is nothing to be asked about."""
    return tuple(region for region in regions if region.mask.any())


def _digest(facts: object) -> str:
    """16 hex digits of anything that JSON can say."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _read_coco(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", hint=_HINT) from None
    if not isinstance(data, dict) or not {"images", "annotations"} <= data.keys():
        raise UsageError(f"{path} is no COCO file: it has no images and annotations.", hint=_HINT)
    return data


def _same_end(file_name: str, item_id: str) -> bool:
    return item_id.endswith(f"/{file_name}") or file_name.endswith(f"/{item_id}")


def _coco_mask(annotation: dict[str, Any], size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) bool from polygons, run lengths of either kind, or at least the box."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        encoded = {**segmentation, "counts": segmentation["counts"].encode("ascii")}
    elif isinstance(segmentation, dict):
        encoded = coco_mask.frPyObjects(segmentation, *size)
    elif segmentation:
        if not all(isinstance(part, list) and len(part) >= 6 for part in segmentation):
            raise ValueError("a polygon needs three points")
        encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    elif annotation.get("bbox"):
        encoded = coco_mask.frPyObjects(np.array([annotation["bbox"]], np.float64), *size)[0]
    else:
        return None
    return np.asarray(coco_mask.decode(encoded), dtype=bool)
