import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from sa2va_cli.errors import MediaError
from sa2va_cli.media.frames import ALL_FRAMES
from sa2va_cli.media.video import FrameSampling, open_video
from tests.media.field_pictures import shade, write_fields

ODD = Path(__file__).parents[1] / "data" / "odd"


def read(path, sampling=ALL_FRAMES, **options):
    with open_video(str(path), sampling, **options) as video:
        return video, list(video)


def levels(frames):
    """The frame numbers that the pictures themselves show."""
    return [round(float(frame.pixels[-8:, -8:, 0].mean()) / 8) for frame in frames]


def decoders():
    return [p for p in psutil.Process().children() if "sa2va_cli.media.decoder" in p.cmdline()]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.mp4", "libx264", {}),
        ("h264.ts", "libx264", {}),
        ("hevc.mkv", "libx265", {"x265-params": "log-level=none"}),
        ("vp9.webm", "libvpx-vp9", {"lossless": "1"}),
        ("mpeg4.avi", "mpeg4", {"b": "8000000"}),
        ("mjpeg.mov", "mjpeg", {"strict": "unofficial"}),
    ],
)
def test_all_frames_of_common_codecs_arrive_in_order(make_video, name, codec, options, picture):
    video, frames = read(make_video(name, codec, **options))
    assert [frame.frame_idx for frame in frames] == list(range(30)) == levels(frames)
    assert [round(frame.time, 3) for frame in frames] == [round(i * 0.04, 3) for i in range(30)]
    assert (video.info.width, video.info.height, video.info.num_frames) == (96, 64, 30)
    assert video.info.fps == pytest.approx(25)
    assert video.info.duration == pytest.approx(1.2)
    assert np.abs(frames[7].pixels.astype(int) - picture(7)).mean() < 4


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_of_phone_videos_is_applied(make_video, rotation, picture):
    path = make_video(f"rotated{rotation}.mp4", rotation=rotation, num_frames=3)
    video, frames = read(path)
    expected = np.rot90(picture(1), rotation // 90)
    assert frames[1].pixels.shape == expected.shape == (video.info.height, video.info.width, 3)
    assert np.abs(frames[1].pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_uneven_frames_keep_their_times(make_video, suffix):
    times = [idx * 40 + (1000 if idx > 10 else 0) + idx % 3 * 5 for idx in range(30)]
    video, frames = read(make_video(f"uneven.{suffix}", times=times))
    assert [round(frame.time * 1000) for frame in frames] == times
    assert video.info.fps == pytest.approx(29 / 2.17, rel=1e-3)
    assert video.info.duration == pytest.approx(2.21, abs=0.011), "the last one's own 40 ms"


def test_a_bare_stream_of_pictures_has_the_times_of_its_rate(make_video):
    video, frames = read(make_video("bare.h264"))
    assert [round(frame.time, 3) for frame in frames] == [round(i * 0.04, 3) for i in range(30)]
    assert (video.info.fps, video.info.duration) == (pytest.approx(25), pytest.approx(1.2))


def test_sampling_keeps_the_numbers_of_the_frames(make_video):
    video, frames = read(make_video("h264.mp4"), FrameSampling(start=0.4, every=6, max_frames=3))
    assert [frame.frame_idx for frame in frames] == [10, 16, 22] == levels(frames)
    assert video.info.selected == (10, 16, 22)
    assert video.notes == ()


@pytest.mark.parametrize(
    ("sampling", "sampled", "decoded"),
    [
        (FrameSampling(every=12), [0, 12, 24], range(30)),
        (FrameSampling(fps=2.5, start=0.4, end=1.0), [10, 20], range(10, 25)),
        (FrameSampling(every=6, max_frames=2), [0, 6], range(12)),
    ],
)
def test_frames_between_the_sampled_ones_come_too_when_wanted(
    make_video, sampling, sampled, decoded
):
    video, frames = read(make_video("h264.mp4"), replace(sampling, between=True))
    assert list(video.info.sampled) == sampled
    assert list(video.info.selected) == list(decoded) == levels(frames)


def test_frames_between_those_of_a_folder_come_too(tmp_path, picture):
    for idx in range(7):
        Image.fromarray(picture(idx)).save(tmp_path / f"{idx}.png")
    video, frames = read(tmp_path, FrameSampling(every=3, max_frames=2, between=True))
    assert (video.info.sampled, levels(frames)) == ((0, 3), list(range(6)))
    assert levels(video.read(4)) == [4, 5]


@pytest.mark.parametrize("skip", [0, 3, 29, 30])
def test_reading_can_begin_in_the_middle_even_beside_another_reader(make_video, skip):
    with open_video(str(make_video("h264.mp4"))) as video:
        whole = iter(video)
        next(whole)
        assert levels(video.read(skip)) == list(range(skip, 30))
        assert levels(whole) == list(range(1, 30))
    assert video.notes == ()


def test_frames_that_were_missing_before_the_middle_are_still_counted(make_video):
    with open_video(str(make_video("h264.mp4"))) as video:
        assert len(list(video.read(10, missing=2))) == 20
    assert video.notes == ("2 of 30 frames could not be decoded",)


def test_sampling_that_takes_nothing_is_an_error(make_video):
    with pytest.raises(MediaError, match=r"lasts 1.20 s: the sampling takes none of its 30"):
        open_video(str(make_video("h264.mp4")), FrameSampling(start=5))
    assert decoders() == []


@pytest.mark.parametrize("name", ["seek.mp4", "seek.mkv", "seek.ts", "seek.avi"])
def test_a_late_start_gives_the_same_frames_as_reading_all(make_video, name):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = make_video(name, codec, num_frames=400, size=(320, 240), g="50")
    frames = read(path, FrameSampling(every=9))[1]
    start = frames[-8].time
    late = read(path, FrameSampling(start=start - 1e-3, every=9))[1]
    assert [frame.frame_idx for frame in late] == [frame.frame_idx for frame in frames[-8:]]
    for frame, same in zip(late, frames[-8:], strict=True):
        np.testing.assert_array_equal(frame.pixels, same.pixels)


def test_a_video_can_be_read_twice(make_video):
    with open_video(str(make_video("h264.mp4"))) as video:
        first, second = list(video), list(video)
    assert levels(first) == levels(second) == list(range(30))


def test_a_header_that_promises_too_much_is_noted(make_video):
    """AVI at 1/1000 s counts the gaps as frames, like a real file whose header says 444 of 68."""
    video, frames = read(make_video("gaps.avi", "mpeg4"))
    assert (video.info.declared_frames, video.info.num_frames, len(frames)) == (1200, 30, 30)
    assert video.info.duration == pytest.approx(1.2)
    assert video.notes == ("the header says 1200 frames, the file holds 30",)
    with open_video(str(make_video("gaps.avi", "mpeg4"))) as unread:
        assert unread.notes == video.notes


def test_a_file_without_a_frame_count_is_no_worse(make_video):
    video, frames = read(make_video("vp9.webm", "libvpx-vp9"))
    assert (video.info.declared_frames, video.info.num_frames, len(frames)) == (None, 30, 30)
    assert video.notes == ()


def assert_woven(frames):
    """The first rows of each frame are those of its own two fields."""
    rows = np.array([frame.pixels[:2, 0, 0] for frame in frames], np.float64)
    samples = np.array([[shade(frame.frame_idx, bottom) for bottom in (0, 1)] for frame in frames])
    assert np.abs(rows - (samples - 16) * 255 / 219).max() <= 2  # limited range to full


@pytest.mark.parametrize(
    ("name", "together"),
    [
        ("1080i.ts", False),
        ("1080i.mts", True),  # AVCHD: two packets, of which the second has no time
        ("1080i.mkv", True),  # one packet
        ("1080i.mp4", False),
        ("bare.h264", False),
    ],
)
def test_pictures_of_two_fields_are_one_frame(tmp_path, name, together):
    write_fields(tmp_path / name, 40, together)
    video, frames = read(tmp_path / name)
    assert [frame.frame_idx for frame in frames] == list(range(40))
    assert_woven(frames)
    assert [frame.time for frame in frames] == pytest.approx([idx / 25 for idx in range(40)])
    assert (video.info.num_frames, video.info.fps) == (40, pytest.approx(25))
    assert video.info.duration == pytest.approx(1.6)
    assert video.notes == ()


def test_pictures_of_two_fields_are_found_from_the_middle_of_a_file(tmp_path):
    write_fields(tmp_path / "long.ts", 300)
    _, frames = read(tmp_path / "long.ts", FrameSampling(start=11))
    assert [frame.frame_idx for frame in frames] == list(range(275, 300))
    assert_woven(frames)


def test_a_matroska_file_may_begin_later_than_at_zero(make_video):
    times = [1000 + idx * 40 for idx in range(30)]
    video, frames = read(make_video("later.mkv", times=times))
    assert (len(frames), video.info.duration) == (30, pytest.approx(1.2))
    assert video.notes == ()


def test_what_is_left_of_a_cut_file_is_read(make_video, tmp_path):
    data = make_video("whole.mkv", size=(320, 240), g="10").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    video, frames = read(tmp_path / "cut.mkv")
    assert 5 < len(frames) < 25
    assert levels(frames) == list(range(len(frames)))
    held = f"{len(frames) / 25:.1f}"
    assert video.notes[0] == f"the header says 1.2 s, the file holds {held} s of pictures"


def test_broken_frames_in_the_middle_are_counted_and_the_others_keep_their_numbers(
    make_video, tmp_path
):
    source = make_video("intra.mkv", "mjpeg", strict="unofficial", size=(320, 240))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for packet in packets[10:13]:
        at = data.index(bytes(packet))
        data[at : at + packet.size] = bytes(packet.size)
    (tmp_path / "hole.mkv").write_bytes(data)
    video, frames = read(tmp_path / "hole.mkv")
    assert [frame.frame_idx for frame in frames] == [*range(10), *range(13, 30)] == levels(frames)
    assert "3 of 30 frames could not be decoded" in video.notes


def copy_packets(source, target, change):
    """Write the packets of a video as `change` makes them of their list."""
    with av.open(str(source)) as read_from, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(read_from.streams.video[0])
        for packet in change([packet for packet in read_from.demux(video=0) if packet.size]):
            packet.stream = stream
            container.mux(packet)


def test_a_packet_without_a_frame_shifts_no_others(make_video, tmp_path):
    """decord counts packets, and frames as they come."""

    def skip_the_12th(packets):
        bits = 0b0101 << 12 | 480 << 2 | 0b10  # P, a marker, 480 ms, a marker, not coded
        skipped = av.Packet(b"\0\0\1\xb6" + bits.to_bytes(2, "big"))
        skipped.pts, skipped.dts, skipped.time_base = 480, 480, packets[12].time_base
        return [*packets[:12], skipped, *packets[13:]]

    copy_packets(make_video("whole.mkv", "mpeg4", g="1"), tmp_path / "skip.mkv", skip_the_12th)
    video, frames = read(tmp_path / "skip.mkv")
    assert [frame.frame_idx for frame in frames] == [*range(12), *range(13, 30)] == levels(frames)
    assert video.notes == ("1 of 30 frames could not be decoded",)


def test_frames_that_are_never_shown_do_not_count(make_video, tmp_path):
    """VP8 keeps them in packets of their own."""

    def hide_another(packets):
        data = bytearray(bytes(packets[12]))
        data[0] &= ~0x10  # show_frame
        hidden = av.Packet(data)
        hidden.pts, hidden.dts, hidden.time_base = 479, 479, packets[12].time_base
        return [*packets[:12], hidden, *packets[12:]]

    copy_packets(make_video("vp8.webm", "libvpx", g="1"), tmp_path / "hidden.webm", hide_another)
    video, frames = read(tmp_path / "hidden.webm")
    assert [frame.frame_idx for frame in frames] == list(range(30)) == levels(frames)
    assert (video.info.num_frames, video.notes) == (30, ())


def test_a_frame_that_comes_after_its_time_shifts_no_others(make_video, tmp_path):
    def swap(packets):
        packets[5], packets[6] = packets[6], packets[5]
        for idx, packet in enumerate(packets):
            packet.dts = 40 * idx - 40
        return packets

    source = make_video("in_order.mkv", "mjpeg", strict="unofficial", size=(320, 240))
    copy_packets(source, tmp_path / "late.mkv", swap)
    video, frames = read(tmp_path / "late.mkv")
    assert [frame.frame_idx for frame in frames] == [*range(5), *range(6, 30)] == levels(frames)
    assert "1 of 30 frames could not be decoded" in video.notes


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("video_audio_only.mp4", "it has no video stream, only sound"),
        ("video_no_stream.mp4", "it has no video stream"),
        ("video_truncated.mkv", "it does not open: End of file"),
        ("missing.mp4", "it does not open: No such file or directory"),
        ("reallybig.bmp", "cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_says_why(name, reason):
    with pytest.raises(MediaError, match=reason):
        read(ODD / name)
    assert decoders() == []


def test_the_cover_of_an_album_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 8000
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(sound.encode(silence))
        container.mux(cover.encode(av.VideoFrame(32, 32, "rgb24")))
        container.mux([*sound.encode(), *cover.encode()])
    with pytest.raises(MediaError, match="only sound"):
        read(path)


def test_frames_of_another_size_are_resized_to_the_first(make_video, tmp_path):
    """Streams of H.264 may simply follow each other."""
    small, large = make_video("small.h264", num_frames=5), make_video("large.h264", size=(128, 96))
    (tmp_path / "both.h264").write_bytes(small.read_bytes() + large.read_bytes())
    video, frames = read(tmp_path / "both.h264")
    assert {frame.pixels.shape for frame in frames} == {(64, 96, 3)}
    assert len(frames) > 5
    assert any("of another size, resized" in note for note in video.notes)


def test_names_that_look_like_protocols_or_are_not_utf8_open(make_video, tmp_path, monkeypatch):
    data = make_video("h264.mp4").read_bytes()
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "-i.mp4", "a b\n.mp4", os.fsdecode(b"\xff.mp4")):
        Path(name).write_bytes(data)
        assert len(read(name)[1]) == 30


def test_modules_in_the_working_folder_are_not_run(make_video, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('code from data')")
    monkeypatch.chdir(tmp_path)
    assert len(read(make_video("h264.mp4"))[1]) == 30


def test_a_decoder_that_is_killed_is_replaced_and_no_frame_is_lost(make_video):
    with open_video(str(make_video("long.mp4", num_frames=60, size=(640, 480)))) as video:
        frames = iter(video)
        taken = [next(frames) for _ in range(3)]
        (decoder,) = decoders()
        decoder.kill()
        taken.extend(frames)
    assert [frame.frame_idx for frame in taken] == list(range(60))
    assert video.notes == ("the decoder was stopped by signal 9; read on with PyAV",)


def test_ctrl_c_in_the_terminal_leaves_the_decoder_to_its_parent(make_video):
    with open_video(str(make_video("long.mp4", num_frames=60, size=(640, 480)))) as video:
        frames = iter(video)
        next(frames)
        decoders()[0].send_signal(signal.SIGINT)
        assert len(list(frames)) == 59
    assert video.notes == ()


def test_a_decoder_that_never_answers_is_stopped(tmp_path):
    os.mkfifo(tmp_path / "endless.mp4")
    start = time.monotonic()
    with pytest.raises(MediaError, match=r"the decoder gave no sign of life for 1 s"):
        open_video(str(tmp_path / "endless.mp4"), frame_timeout=1)
    assert time.monotonic() - start < 30
    assert decoders() == []


def test_a_slow_consumer_is_not_taken_for_a_hanging_decoder(make_video):
    with open_video(str(make_video("large.mp4", size=(640, 480)))) as video:
        video._waiting._timeout = 2  # now that it has started, which takes long on a busy machine
        frames = iter(video)
        next(frames)
        time.sleep(2.5)
        assert len(list(frames)) == 29


def test_leaving_early_ends_the_decoder(make_video):
    with open_video(str(make_video("large.mp4", size=(640, 480)))) as video:
        assert len(decoders()) == 1
        for _ in video:
            break
    del video
    assert decoders() == []


def test_the_decoder_dies_with_a_parent_that_is_killed(make_video):
    path = make_video("large.mp4", size=(640, 480))
    code = (
        "import sys, time\nfrom sa2va_cli.media.video import open_video\n"
        "frames = iter(open_video(sys.argv[1]))\nnext(frames)\nprint('ready', flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    with parent:
        parent.stdout.readline()
        (decoder,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
    assert decoder.wait(timeout=10) in (None, 1)


def test_videos_can_be_read_in_threads_at_the_same_time(make_video):
    path = make_video("h264.mp4")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(levels(read(path)[1]))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(30))] * 3


def test_a_folder_of_frames_is_a_video(tmp_path, picture):
    for idx in (10, 2, 1):
        Image.fromarray(picture(idx)).save(tmp_path / f"frame_{idx}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    video, frames = read(tmp_path)
    assert levels(frames) == [1, 2, 10]
    assert [(frame.frame_idx, frame.time) for frame in frames] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert (video.info.width, video.info.height, video.info.fps) == (96, 64, None)
    assert video.notes == ()


def test_a_folder_tells_of_broken_frames_other_sizes_and_options_that_need_a_clock(
    tmp_path, picture
):
    for idx in range(4):
        Image.fromarray(picture(idx, (96, 64) if idx < 3 else (48, 32))).save(
            tmp_path / f"{idx}.png"
        )
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    video, frames = read(tmp_path, FrameSampling(fps=1))
    assert [frame.frame_idx for frame in frames] == [0, 2, 3]
    assert frames[-1].pixels.shape == (64, 96, 3)
    clock, missing, resized = video.notes
    assert "no clock" in clock
    assert missing.startswith("frame 1 is missing")
    assert resized == "frames of another size, resized to that of the first: 1"


def test_frames_whose_digits_are_none_have_a_place_too(tmp_path, picture):
    for idx, name in enumerate(["2²", "①", "10²5", "٣"]):
        Image.fromarray(picture(idx, (96, 64))).save(tmp_path / f"{name}.png")
    assert len(read(tmp_path)[1]) == 4


def test_what_cannot_be_looked_into_in_a_folder_is_a_frame_only_by_its_name(tmp_path, picture):
    Image.fromarray(picture(0)).save(tmp_path / "0.png")
    (tmp_path / "1.png").symlink_to("1.png")
    (tmp_path / "latest").symlink_to("latest")
    (tmp_path / "notes.txt").symlink_to("/proc/self/mem")  # reading it fails, for root, too
    video, frames = read(tmp_path)
    assert (len(frames), video.info.num_frames) == (1, 2)
    (missing,) = video.notes
    assert missing.startswith("frame 1 is missing: ")
    assert "1.png" in missing


def test_a_frame_with_too_many_pixels_is_missing(tmp_path, picture):
    for idx, size in enumerate([(96, 64), (192, 128)]):
        Image.fromarray(picture(idx, size)).save(tmp_path / f"{idx}.png")
    video, frames = read(tmp_path, max_pixels=96 * 64)
    assert [frame.frame_idx for frame in frames] == [0]
    assert video.notes[0].startswith("frame 1 is missing: ")


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="holds no pictures"):
        open_video(str(tmp_path))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(make_video):
    peaks = []
    for count in (30, 100, 1000, 5000):
        path = make_video(f"{count}.mp4", num_frames=count, size=(640, 480), preset="ultrafast")
        peaks.append(0)
        with open_video(str(path)) as video:
            for frame in video:
                if frame.frame_idx % 10 == 9:
                    time.sleep(0.001)  # a model is slower than a decoder
                    peaks[-1] = max(peaks[-1], decoders()[0].memory_info().rss)
    print("peak MB of the decoder:", [peak >> 20 for peak in peaks])
    assert max(peaks) - min(peaks) < 100 * 2**20
