"""Names of output files: readable, one for each thing, and never a way out of the folder."""

import hashlib
import os
import re
import unicodedata

MAX_SEGMENT_BYTES = 200  # file systems allow 255; the rest is for suffixes and temporary names
MAX_SLUG_CHARACTERS = 32
_UNSAFE = set('<>:"|?*\\%')  # forbidden on Windows, and our own escape character
_OUR_NAMES = re.compile(r"obj_\d")


def item_folder(item_id: str) -> tuple[str, ...]:
    """The segments of an item's own folder: its path with everything unsafe percent-encoded.

    Different item ids give different folders, and no item's folder is a file of another's.
    """
    return tuple(safe_segment(segment) for segment in item_id.split("/"))


def item_file(item_id: str, suffix: str) -> tuple[str, ...]:
    """The segments of an item's one file: its path with `suffix` added, never put in place of
    its own, because a.jpg and a.png are two items. No folder of another item has that name.
    """
    *folders, name = item_folder(item_id)
    mark = _percent(suffix[0])
    folders = [
        folder.removesuffix(suffix) + mark + suffix[1:] if folder.endswith(suffix) else folder
        for folder in folders
    ]
    return (*folders, name + suffix)


def safe_segment(segment: str) -> str:
    """One folder or file name that is legal everywhere; the way there is one to one."""
    if not segment:
        return "%_"
    if segment.strip(".") == "":
        return "%2E" * len(segment)
    encoded = "".join(_encode(character) for character in segment)
    if segment[0] in "-." or _OUR_NAMES.match(segment):  # options, hidden files, obj_001_car
        encoded = _percent(segment[0]) + encoded[1:]
    if segment[-1] in " .":  # Windows drops them
        encoded = encoded[:-1] + _percent(segment[-1])
    return _shorten(encoded)


def object_name(obj_id: int, category: str) -> str:
    """`obj_001_red_car`: the number makes it unique, the words make it readable."""
    slug = slugify(category)
    return f"obj_{obj_id:03d}_{slug}" if slug else f"obj_{obj_id:03d}"


def frame_name(frame_idx: int) -> str:
    return f"frame_{frame_idx:06d}"


def slugify(text: str) -> str:
    """Letters and digits of any script, lower case, joined by underscores; may be empty."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    words = "_".join(re.findall(r"[^\W_]+", text.lower()))
    slug = words[:MAX_SLUG_CHARACTERS].rstrip("_")
    return slug.encode("utf-8")[:96].decode("utf-8", "ignore")


def _encode(character: str) -> str:
    if character in _UNSAFE or not character.isprintable():  # controls, surrogates, odd spaces
        return _percent(character)
    return character


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(character))


def _shorten(encoded: str) -> str:
    data = encoded.encode("utf-8")
    if len(data) <= MAX_SEGMENT_BYTES:
        return encoded
    digest = hashlib.sha256(data).hexdigest()[:16]
    stem, dot, suffix = encoded.rpartition(".")
    suffix = dot + suffix if stem and len(suffix) <= 8 and suffix.isascii() else ""
    room = MAX_SEGMENT_BYTES - len(digest) - len(suffix) - 2
    return (
        f"{data[:room].decode('utf-8', 'ignore')}%-{digest}{suffix}"  # "%-": no plain name has it
    )
