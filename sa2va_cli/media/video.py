"""Stream the frames of a video file or a folder of frames, at any length, in bounded memory."""

import os

from sa2va_cli.media.frame_folder import FrameFolder
from sa2va_cli.media.frames import ALL_FRAMES, Frame, FrameSampling, Video, VideoInfo
from sa2va_cli.media.image import MAX_PIXELS
from sa2va_cli.media.video_file import VideoFile

__all__ = ["Frame", "FrameSampling", "Video", "VideoInfo", "open_video"]


def open_video(
    path: str,
    sampling: FrameSampling = ALL_FRAMES,
    frame_timeout: float = 60.0,
    max_pixels: int = MAX_PIXELS,
) -> Video:
    """Open a video file, or a folder as frames. Raises MediaError if there is nothing to decode.

    `frame_timeout` is in seconds, for opening and for each frame: a decoder that takes longer
    is killed, and what it had delivered is kept. Of a folder, pictures with more than
    `max_pixels` are frames that cannot be read.
    """
    if os.path.isdir(path):
        return FrameFolder(path, sampling, max_pixels)
    return VideoFile(path, sampling, frame_timeout)
