"""Overlay videos: each clip with its objects drawn in, at its own pace, with its own sound."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import av
import numpy as np

from sa2va_cli.errors import JobError, MediaError
from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.files import OutputFolder
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.frames import frames_of
from sa2va_cli.exporters.labels import Memory
from sa2va_cli.exporters.leftovers import ANSWERS, Kind, remove_leftovers
from sa2va_cli.exporters.mp4 import Mp4Writer, Source
from sa2va_cli.exporters.names import item_file
from sa2va_cli.exporters.originals import open_original
from sa2va_cli.exporters.overlay import FOLDER, item_overlay, shorten
from sa2va_cli.media.frames import Video
from sa2va_cli.results import ItemResult, ResultReader

SUFFIX = ".overlay.mp4"
CLIPS = Kind((FOLDER,), rf"(?!{ANSWERS}overlay).+\.overlay\.mp4")
FRAME_FOLDER_FPS = 10.0  # a folder of frames has no clock

TimedFrame = tuple[float, np.ndarray]  # seconds, (H, W, 3) uint8 RGB


class OverlayVideoExporter:
    """overlays/<item>.overlay.mp4 for each video; the originals must still be where they were.

    It shows the frames that were looked at, each until the next one.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        notes: list[str] = []
        count = 0
        for item in results.items():
            if item.kind == "video":
                path = folder.path(FOLDER, *item_file(item.item_id, SUFFIX))
                try:
                    notes += [f"{item.item_id}: {n}" for n in _write_video(path, item, results)]
                    count += 1
                except MediaError as error:
                    notes.append(str(error).splitlines()[0])
        path = folder.folder(FOLDER) if count else folder.root
        removed = remove_leftovers(folder, self._options, CLIPS)
        return Exported(path, count, "overlay videos", shorten(notes) + removed)


def _write_video(path: Path, item: ItemResult, results: ResultReader) -> list[str]:
    """What the viewer should know.

    Raises MediaError when the source is no longer readable, or is nothing that H.264 can hold;
    JobError when the disk takes no more.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with open_original(item) as video:
            notes = _encode(temporary, item, video, results)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # also those of libav
        raise JobError(f"Cannot write {path}: {error}.", hint="is the disk full?") from error
    except av.FFmpegError as error:  # x264 goes up to 16,384 pixels a side
        size = f"{item.width} x {item.height}"
        reason = f"{item.item_id} with {size} cannot be encoded as a video: {error}."
        raise MediaError(reason) from error
    finally:
        temporary.unlink(missing_ok=True)
    return notes


def _encode(path: Path, item: ItemResult, video: Video, results: ResultReader) -> list[str]:
    count = 0
    with (
        closing(Source(item.path)) as source,
        closing(Mp4Writer(path, item.height, item.width, source)) as writer,
    ):
        drawn = _drawn(item, video, results)
        to_end = bool(item.frames) and item.frames[-1].numbers[-1] == video.info.num_frames - 1
        for pixels, time, duration in _with_durations(drawn, video, to_end):
            writer.add(pixels, time, duration)
            count += 1
        writer.finish()
    notes = [source.note] if source.note else []
    return notes + ([f"{count} of {item.num_frames} frames"] if count < item.num_frames else [])


def _drawn(item: ItemResult, video: Video, results: ResultReader) -> Iterator[TimedFrame]:
    """The frames that were looked at, drawn over. Frames and masks go side by side."""
    memory = Memory(len(item.objects))
    wanted = frames_of(item, results)
    frame_idx, masks = next(wanted, (-1, []))
    clock = 1.0 if video.info.duration is not None else 1 / FRAME_FOLDER_FPS
    for frame in video:
        while -1 < frame_idx < frame.frame_idx:
            frame_idx, masks = next(wanted, (-1, []))
        if frame_idx < 0:
            return
        if frame.frame_idx == frame_idx:
            yield frame.time * clock, item_overlay(frame.pixels, item, masks, memory)


def _with_durations(
    frames: Iterator[TimedFrame], video: Video, to_end: bool
) -> Iterator[tuple[np.ndarray, float, float]]:
    """(pixels, time, duration): a frame lasts until the next one.

    `to_end`: the last of them is the last one of the file, and lasts as long as it does there.
    """
    step = 1 / (video.info.fps or FRAME_FOLDER_FPS)
    waiting: TimedFrame | None = None
    for time, pixels in frames:
        if waiting is not None:
            step = time - waiting[0]
            yield waiting[1], waiting[0], step
        waiting = (time, pixels)
    if waiting is not None:
        rest = (video.info.duration or 0.0) - waiting[0]
        # the file's end may be far behind the last frame that was looked at
        is_own = rest > 0 and (to_end or rest < 2 * step)
        yield waiting[1], waiting[0], rest if is_own else step
