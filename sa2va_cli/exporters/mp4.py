"""Write mp4 videos that browsers play: H.264, every frame at its own time, sound copied."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLOCK = Fraction(
    1, 90_000
)  # what MPEG counts in; exact for 24, 25, 29.97, 30 and 60 frames a second
COPIED_SOUND = ("aac", "mp3", "opus", "flac")  # what mp4 holds and browsers play
DAMAGED = "damaged parts of the sound left out"

# A fixed number of threads: x264 gives other bytes for another number. No B-frames: packets then
# leave in the order of time, and the last one's duration is the last frame's.
X264 = {"preset": "veryfast", "crf": "20", "threads": "4", "bf": "0"}


class Source:
    """What is taken over from a source: its sound, packet by packet without decoding, and the shape
    of its pixels.

    Times are seconds from the source's first frame.
    """

    def __init__(self, path: str) -> None:
        self.note = ""  # what of the sound is not there, and why
        self._container = _open(path)
        self.stream = _audio_stream(self._container)
        codec = self.stream.codec_context.codec.canonical_name if self.stream else ""
        if self.stream is not None and codec not in COPIED_SOUND:
            self.note = f"sound left out: mp4 players do not take {codec}"
            self.stream = None

    def pixel_aspect(self, height: int, width: int) -> Fraction:
        """Width of a pixel over its height, in frames of that size: upright ones."""
        video = self._container.streams.video if self._container is not None else ()
        if not video:
            return Fraction(1)
        aspect = video[0].sample_aspect_ratio or Fraction(1)
        stored = (video[0].height, video[0].width)
        return 1 / aspect if stored == (width, height) != (height, width) else aspect

    def packets(self) -> Iterator[tuple[float, av.Packet]]:
        """(time, packet), in order; what sounds before the first frame is left out."""
        if self._container is None or self.stream is None or self.stream.time_base is None:
            return
        start = _first_frame_time(self._container)
        try:
            for packet in self._container.demux(self.stream):
                if packet.pts is not None:
                    time = float(packet.pts * self.stream.time_base) - start
                    if time >= 0:
                        yield time, packet
        except av.FFmpegError:
            self.note = DAMAGED

    def close(self) -> None:
        if self._container is not None:
            self._container.close()


def _open(source: str) -> "av.container.InputContainer | None":
    """None for what has no sound: a folder of frames, or a file that only decord reads."""
    try:
        return av.open(
            f"file:{source}", metadata_errors="replace", options={"protocol_whitelist": "file"}
        )
    except (av.FFmpegError, OSError):
        return None


def _audio_stream(container: "av.container.InputContainer | None") -> "av.AudioStream | None":
    streams = container.streams.audio if container is not None else ()
    return streams[0] if streams else None


def _first_frame_time(container: "av.container.InputContainer") -> float:
    video = container.streams.video
    if not video or video[0].start_time is None or video[0].time_base is None:
        return 0.0
    return float(video[0].start_time * video[0].time_base)


class Mp4Writer:
    """Frames of one size in, a file out. Odd sizes grow by one pixel: H.264 needs even ones."""

    def __init__(self, path: Path, height: int, width: int, source: Source | None = None) -> None:
        self._container = av.open(
            f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}
        )
        self._video = self._container.add_stream("libx264", options=dict(X264))
        self._video.width, self._video.height = width + width % 2, height + height % 2
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = self._video.codec_context.time_base = CLOCK
        self._video.codec_context.gop_size = 50
        _say_colours(self._video.codec_context)
        if source is not None:
            self._video.codec_context.sample_aspect_ratio = source.pixel_aspect(height, width)
        self._source, self._audio = source, None
        self._packets: Iterator[tuple[float, av.Packet]] = iter(())
        if source is not None and source.stream is not None:
            self._audio = self._container.add_stream_from_template(source.stream)
            self._packets = source.packets()
        self._waiting: tuple[float, av.Packet] | None = None
        self._start = 0.0
        self._end = 0.0
        self._last_pts = -1
        self._durations: deque[int] = deque()  # of the frames inside the encoder, in ticks

    def add(self, pixels: np.ndarray, time: float, duration: float) -> None:
        """Show (H, W, 3) uint8 RGB from `time` on for `duration` seconds.

        The first frame's time is the file's zero, for the sound too.
        """
        if self._last_pts < 0:
            self._start = time
        pts = max(round((time - self._start) / CLOCK), self._last_pts + 1)
        frame = av.VideoFrame.from_ndarray(_even(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = pts, CLOCK
        self._durations.append(max(round(duration / CLOCK), 1))
        self._last_pts = pts
        self._copy_sound(until=time)
        self._encode(frame)
        self._end = time + duration

    def finish(self) -> None:
        """Write what is still inside the encoder, the sound that belongs to it, and the index."""
        self._encode(None)
        if self._last_pts >= 0:
            self._copy_sound(until=self._end)

    def close(self) -> None:
        self._container.close()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for packet in self._video.encode(frame):  # in the order of frames, some frames later
            packet.duration = self._durations.popleft()
            self._container.mux(packet)

    def _copy_sound(self, until: float) -> None:
        while (following := self._waiting or next(self._packets, None)) is not None:
            self._waiting = following
            time, packet = following
            if time >= until:
                return
            self._waiting = None
            if time >= self._start:
                self._mux_sound(packet, time)

    def _mux_sound(self, packet: av.Packet, time: float) -> None:
        assert self._source and self._audio is not None and packet.time_base is not None
        packet.stream = self._audio
        packet.pts = packet.dts = round((time - self._start) / packet.time_base)
        try:
            self._container.mux(packet)
        except av.FFmpegError as error:
            if isinstance(error, OSError):  # the disk's fault
                raise
            self._source.note = DAMAGED


def _say_colours(context: "av.VideoCodecContext") -> None:
    """Players guess from the size what is not said; 1 is BT.709 in all three, and the range
    of television."""
    context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1


def _even(pixels: np.ndarray) -> np.ndarray:
    """The last row or column once more where their number is odd."""
    height, width = pixels.shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    return np.ascontiguousarray(np.pad(pixels, padding, mode="edge"))
