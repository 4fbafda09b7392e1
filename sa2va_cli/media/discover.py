"""Find what there is to annotate: files, folders, globs and lists become sorted items.

Nothing is lost in silence: what was named or looks like media but cannot be used is a Problem,
and other files of a folder are counted.
"""

import glob
import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sa2va_cli.config import Prompt
from sa2va_cli.errors import MediaError
from sa2va_cli.media import sniff
from sa2va_cli.media.frame_folder import frame_paths
from sa2va_cli.media.item import ItemKind, MediaItem, printable
from sa2va_cli.media.patterns import NameFilter, compile_glob


@dataclass(frozen=True, slots=True)
class GivenPath:
    """A file, folder or glob as the user gave it, with its own prompts if a manifest has them."""

    path: str
    prompts: tuple[Prompt, ...] = ()
    base: str = ""  # folder that a relative path starts from; empty: the working folder


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """What to take of that which is found in folders. See NameFilter for the globs."""

    include: tuple[str, ...] = ()  # globs; empty: everything
    exclude: tuple[str, ...] = ()  # globs; win over include
    frames_as_video: bool = False  # a folder that holds images is one video
    hidden: bool = False  # also names that begin with a dot
    skip_folders: tuple[str, ...] = ()  # never entered: the job's own output
    skip_marked: tuple[
        str, ...
    ] = ()  # folders that hold such a file: not entered below a given one
    known: Mapping[str, str] = field(default_factory=dict)  # ids of before, by real path


@dataclass(frozen=True, slots=True)
class Problem:
    """A path that was asked for and cannot be used. A job records it as a failure."""

    item_id: str
    path: str
    reason: str  # one sentence a person understands
    replaced: bool = False  # there is something else now: results of what was there are outdated


@dataclass(frozen=True, slots=True)
class Discovery:
    """Everything found, sorted by item_id (by code point, which is the order of UTF-8 bytes)."""

    items: tuple[MediaItem, ...]
    problems: tuple[Problem, ...]
    skipped: int  # files in folders that are no media, hidden, or filtered out


def discover(given: Sequence[GivenPath], options: DiscoverOptions = DiscoverOptions()) -> Discovery:
    """Look through all given paths once; opens every file to read its first bytes."""
    search = _Search(options)
    search.reserve_ids(given)
    for path in given:
        search.add(path)
    search.follow_links()
    search.check_frames()
    return search.result()


_FolderKey = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class _Root:
    """A folder that is walked, and how paths below it become ids."""

    path: str
    prefix: str = ""  # put in front of ids: a folder found by a glob keeps its own path
    prompts: tuple[Prompt, ...] = ()
    matching: re.Pattern[str] | None = None  # only paths below the root that match
    seen: set[_FolderKey | None] = field(default_factory=set, compare=False)  # so that loops end

    def takes(self, relative: str) -> bool:
        return self.matching is None or bool(self.matching.fullmatch(relative))


@dataclass(frozen=True, slots=True)
class _Found:
    """A file, how it came to be looked at, and the ids it would like, best first."""

    path: str
    real: str  # with the links in its folders resolved: the same file has one
    ids: Iterator[str]
    prompts: tuple[Prompt, ...]
    named: bool = False  # asked for by name: whatever is wrong with it is told
    frames: dict[str, os.stat_result] | None = None  # where the image of a frame folder goes


class _Search:
    """Collects items, problems and the count of the rest over all given paths."""

    def __init__(self, options: DiscoverOptions) -> None:
        self.options = options
        self.names = NameFilter.compile(options.include, options.exclude)
        self.items: dict[str, MediaItem] = {}  # by real path
        self.problems: dict[str, Problem] = {}  # by real path
        self.ids: set[str] = set()
        self.reserved: set[str] = set()  # ids of known files: for nobody else
        self.skipped: set[str] = set()  # real paths; another input may still take them
        self.frames: dict[str, dict[str, os.stat_result]] = {}  # by real folder and path
        self.looked_into = 0  # files, whatever came of them
        self.links: list[tuple[_Root, str]] = []  # linked folders that are still to be walked
        self.real_folders: dict[str, str] = {}  # resolved once for all files in them
        self.skip_folders = {_folder_key(folder) for folder in options.skip_folders} - {None}

    def result(self) -> Discovery:
        used = self.items.keys() | self.problems.keys() | set().union(*self.frames.values())
        return Discovery(
            items=tuple(sorted(self.items.values(), key=lambda item: item.item_id)),
            problems=tuple(sorted(self.problems.values(), key=lambda problem: problem.item_id)),
            skipped=len(self.skipped - used),
        )

    def reserve_ids(self, given: Sequence[GivenPath]) -> None:
        """Known files below the inputs keep their ids, gone or not; others may have moved."""
        known = self.options.known
        roots = {self._real_root(path) for path in given} if known else set[str]()
        self.reserved = {item_id for real, item_id in known.items() if _lies_in(real, roots)}

    def _real_root(self, given: GivenPath) -> str:
        """What a given path leads to, or the folder in which a glob looks."""
        path = os.path.join(given.base, given.path)
        if os.path.isdir(path):
            return os.path.realpath(path)
        if os.path.lexists(path) or not glob.has_magic(given.path):
            return self._real_path(path)
        return os.path.realpath(os.path.join(given.base, _split_glob(given.path)[0]))

    def add(self, given: GivenPath) -> None:
        path = os.path.join(given.base, given.path)
        if os.path.isdir(path):
            self._walk(_Root(path, prompts=given.prompts))
        elif os.path.lexists(path) or not glob.has_magic(given.path):
            self._add_file(path, given, named=True)
        elif "**" in given.path:
            self._add_tree(given)
        else:
            self._add_matches(given)

    def _add_file(self, path: str, given: GivenPath, named: bool) -> None:
        """A file that was not met in a folder: its id is its own path."""
        own, real = _own_id(path, given.base), self._real_path(path)
        if self.names.takes_named(own):
            self._look_into(_Found(path, real, _ids(path, own), given.prompts, named))
        else:
            self.skipped.add(real)

    def _real_path(self, path: str) -> str:
        """The links in its folders resolved, its own name kept: a linked file is its own item."""
        folder, name = os.path.split(path)
        if folder not in self.real_folders:
            self.real_folders[folder] = os.path.realpath(folder)
        return os.path.join(self.real_folders[folder], name)

    def _add_matches(self, given: GivenPath) -> None:
        """A glob that the shell left alone stands for the paths it matches."""
        pattern = os.path.join(glob.escape(given.base), given.path)
        matches = sorted(glob.glob(pattern, include_hidden=self.options.hidden))
        if not matches:
            self._problem(pattern, _own_id(pattern, given.base), "no file matches it")
        for path in matches:
            if os.path.isdir(path):
                self._walk(_Root(path, f"{_own_id(path, given.base)}/", given.prompts))
            else:
                self._add_file(path, given, named=False)

    def _add_tree(self, given: GivenPath) -> None:
        """A glob with ** is a walk: it enters each folder once, however links loop."""
        folder, pattern = _split_glob(given.path.replace(os.sep, "/"))
        path = os.path.join(given.base, folder) or os.curdir
        prefix = _own_id(path, given.base)
        matching = compile_glob(pattern)
        before = self.looked_into, len(self.problems), len(self.links)
        self._walk(_Root(path, prefix and f"{prefix}/", given.prompts, matching))
        if (self.looked_into, len(self.problems), len(self.links)) == before:
            given_path = os.path.join(given.base, given.path)
            self._problem(given_path, _own_id(given_path, given.base), "no file matches it")

    def _walk(self, root: _Root, relative: str = "") -> None:
        """All real folders below a root; linked ones wait until every real one has been seen."""
        folders = [(os.path.join(root.path, relative), relative)]
        while folders:
            path, relative = folders.pop()
            key = _folder_key(path)
            if key in self.skip_folders or key in root.seen:
                continue
            root.seen.add(key)
            for entry in self._walk_folder(root, path, relative):
                below = f"{relative}{entry.name}/"
                if entry.is_symlink():
                    self.links.append((root, below))
                else:
                    folders.append((entry.path, below))

    def follow_links(self) -> None:
        """Last, so that a folder with two names keeps its real one, and loops end."""
        while self.links:
            links, self.links = self.links, []
            for root, relative in sorted(links, key=lambda link: (link[0].path, link[1])):
                self._walk(root, relative)

    def _walk_folder(self, root: _Root, path: str, relative: str) -> Iterator[os.DirEntry[str]]:
        """Take the files of one folder; yield the folders in it that are to be entered."""
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror}"
            self._problem(path, _below(root, relative), reason)
            return
        if relative and any(entry.name in self.options.skip_marked for entry in entries):
            return
        real_folder, frames = os.path.realpath(path), dict[str, os.stat_result]()
        for entry in entries:
            below, real = f"{relative}{entry.name}", os.path.join(real_folder, entry.name)
            if entry.name.startswith(".") and not self.options.hidden:
                self.skipped.add(real)
            elif _is_folder(entry):
                if self.names.enters(below):
                    yield entry
            elif self.names.takes(below) and root.takes(below):
                ids = _ids(entry.path, _below(root, below))
                self._look_into(_Found(entry.path, real, ids, root.prompts, frames=frames))
            else:
                self.skipped.add(real)
        if frames:
            self._add_frames(root, path, relative, frames)

    def _add_frames(
        self, root: _Root, path: str, relative: str, frames: dict[str, os.stat_result]
    ) -> None:
        """One video of all images of a folder."""
        real = os.path.realpath(path)
        together = self.frames.setdefault(real, {})
        together |= frames
        size = sum(frame.st_size for frame in together.values())
        mtime_ns = max(frame.st_mtime_ns for frame in together.values())
        found = _Found(path, real, _ids(path, _below(root, relative)), root.prompts)
        self._claim(found, "frames", size, mtime_ns)

    def check_frames(self) -> None:
        """A frame's number is its place among all pictures of its folder: none may be left out."""
        for folder, frames in self.frames.items():
            left_out = [
                printable(os.path.basename(path))
                for path in _pictures(folder)
                if path in self.skipped and path not in frames
            ]
            if left_out:
                item = self.items.pop(folder)
                names = ", ".join(left_out[:3]) + (", …" if left_out[3:] else "")
                reason = (
                    "the frames of a folder are all its pictures, and some were left out "
                    f"({names}): move them to a folder of their own"
                )
                self.problems[folder] = Problem(item.item_id, item.path, reason)

    def _look_into(self, found: _Found) -> None:
        """By its first bytes a file becomes an item, a problem, or one more that is skipped."""
        self.looked_into += 1
        try:
            status = os.stat(found.path)
            regular = stat.S_ISREG(status.st_mode)
            head = sniff.read_head(found.path) if regular else b""
        except OSError as error:
            return self._refuse(found, f"it cannot be read: {error.strerror}")
        if not regular:
            return self._refuse(found, "it is no regular file", replaced=True)
        kind = sniff.media_kind(head)
        if kind is None or sniff.is_camera_raw(found.path, head):
            return self._refuse(found, sniff.complaint(found.path, head), replaced=True)
        if self.options.frames_as_video and kind == "image" and found.frames is not None:
            if os.path.basename(found.path).startswith("."):  # never a frame, even with --hidden
                self.skipped.add(found.real)
            else:
                found.frames[found.real] = status
            return None
        return self._claim(found, kind, status.st_size, status.st_mtime_ns)

    def _refuse(self, found: _Found, reason: str, replaced: bool = False) -> None:
        """What lies in a folder is only worth a complaint when its name says that it is media."""
        if not found.named and not sniff.sounds_like_media(found.path):
            self.skipped.add(found.real)
        elif found.real not in self.problems:
            item_id = self._free_id(found.real, found.ids)
            self.problems[found.real] = Problem(item_id, found.path, reason, replaced)

    def _problem(self, path: str, item_id: str, reason: str) -> None:
        if path not in self.problems:
            free = self._free_id(self._real_path(path), _ids(path, item_id))
            self.problems[path] = Problem(free, path, reason)

    def _claim(self, found: _Found, kind: ItemKind, size: int, mtime_ns: int) -> None:
        """A new item gets its id; the same file again only adds its prompts, or its frames."""
        known = self.items.get(found.real)
        if known is None:
            item_id = self._free_id(found.real, found.ids)
            item = MediaItem(item_id, found.path, kind, size, mtime_ns, found.prompts)
            self.items[found.real] = item
        else:
            more = tuple(prompt for prompt in found.prompts if prompt not in known.prompts)
            self.items[found.real] = replace(
                known, size=size, mtime_ns=mtime_ns, prompts=known.prompts + more
            )

    def _free_id(self, real: str, ids: Iterator[str]) -> str:
        """The one it has had, else the first that is neither taken nor another file's."""
        free = self.options.known.get(real)
        if free is None or free in self.ids:
            free = next(new for new in ids if new not in self.ids and new not in self.reserved)
        self.ids.add(free)
        return free


def _lies_in(path: str, folders: set[str]) -> bool:
    """Whether a whole path is one of the folders, or below one."""
    while path not in folders and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path in folders


def _pictures(folder: str) -> list[str]:
    """What the decoder of a folder of frames reads; none if it cannot, which it will tell."""
    try:
        return frame_paths(folder)
    except MediaError:
        return []


def _ids(path: str, first: str) -> Iterator[str]:
    """`first`, then ever more of the absolute path in front of it, then numbers behind it."""
    if first:
        yield first
    folders = _relative(os.path.abspath(path)).split("/")
    for depth in range(first.count("/") + (2 if first else 1), len(folders) + 1):
        yield "/".join(folders[-depth:])
    for number in itertools.count(2):
        yield f"{first}~{number}"


def _below(root: _Root, relative: str) -> str:
    """The id of a path below a root; empty for the root itself."""
    return _relative(root.prefix + relative)


def _own_id(path: str, base: str) -> str:
    """A path as an id: as it was given below `base`, else all of it from the root."""
    inside = base and path.startswith(f"{base}{os.sep}")
    relative = os.path.normpath(path[len(base) + 1 :] if inside else path)
    if os.path.isabs(relative) or relative.split(os.sep)[0] == os.pardir:
        relative = os.path.abspath(path)
    return _relative(relative)


def _relative(path: str) -> str:
    """Printable, "/" between folders, nothing that leads out of a folder it is joined to."""
    slashed = printable(os.path.splitdrive(path)[1].replace(os.sep, "/"))
    return slashed.strip("/") if slashed != os.curdir else ""


def _split_glob(pattern: str) -> tuple[str, str]:
    """The folder before the first part that holds a wildcard, and the rest."""
    parts = pattern.split("/")
    magic = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    folder = "/".join(parts[:magic])
    return folder or ("/" if magic else ""), "/".join(parts[magic:])


def _folder_key(path: str) -> _FolderKey | None:
    """What the system knows a folder by, whatever links lead to it; None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
