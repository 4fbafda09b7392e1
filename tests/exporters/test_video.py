from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from sa2va_cli.errors import JobError
from sa2va_cli.exporters import export_results
from sa2va_cli.masks import decode_rle

TIMES = [0, 40, 80, 200, 210, 500]  # milliseconds: a variable frame rate
SHAPE = (48, 65)  # an odd width


def write_source(path, times=TIMES, sound=None, title=""):
    """A video with a frame at each time, greyer by the number, and sound of half a second."""
    with av.open(str(path), "w") as container:
        if title:
            container.metadata["title"] = title
        video = container.add_stream("ffv1")
        video.width, video.height, video.pix_fmt = SHAPE[1], SHAPE[0], "yuv444p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number, time in enumerate(times):
            pixels = np.full((*SHAPE, 3), 15 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(video.encode(frame))
        if audio:
            tone = (np.sin(np.arange(24_000) / 20) * 8000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.rate, frame.pts = 48_000, 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        container.mux(video.encode(None))


@pytest.fixture
def source(tmp_path, make):
    """clip.mkv with a variable frame rate and sound, and results for it."""

    def build(**options):
        path = tmp_path / "clip.mkv"
        write_source(path, **options)
        item, masks = make.video_results()[0]
        return make.results([(replace(item, path=str(path)), masks)])

    return build


def export(results, folder):
    (exported,) = export_results(results, ["video"], folder)
    return exported, folder / "overlays" / "v" / "clip.mp4.overlay.mp4"


def frames(path):
    with av.open(str(path)) as container:
        return [
            (round(f.time * 1000), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)
        ]


def test_every_frame_keeps_its_time_when_the_frame_rate_varies(source, tmp_path):
    exported, path = export(source(), tmp_path / "out")
    assert (exported.count, exported.notes) == (1, ())
    assert [time for time, _ in frames(path)] == TIMES


def test_browsers_can_play_it(source, tmp_path):
    _, path = export(source(), tmp_path / "out")
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height) == (66, 48)  # even
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # it starts before it is loaded whole


def test_objects_are_drawn_where_they_are(source, tmp_path, make):
    item, masks = source().results[0]
    alone = [mask for mask in masks if mask.obj_id == 1]
    results = make.results([(replace(item, objects=item.objects[:1]), alone)])
    _, path = export(results, tmp_path / "out")
    _, first = frames(path)[0]
    inside = decode_rle(alone[0].rle)
    red, green, blue = first[:48, :65][inside].mean(axis=0)  # the source is black here
    assert red > green + 30 and red > blue + 30
    assert first[44, 60].max() < 12


def test_colours_are_those_of_the_source(tmp_path, make):
    (tmp_path / "frames").mkdir()
    for number in range(3):
        Image.new("RGB", SHAPE[::-1], (200, 60, 30)).save(tmp_path / "frames" / f"{number}.png")
    item, _ = make.video_results(3)[0]
    item = replace(item, path=str(tmp_path / "frames"), objects=(), width=65, height=48)
    _, path = export(make.results([(item, [])]), tmp_path / "out")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, as it is said to be
        rgb = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert abs(rgb[20, 20].astype(int) - (200, 60, 30)).max() <= 4


def test_the_duration_is_that_of_the_source(source, tmp_path):
    results = source(times=[0, 100, 200, 300, 400, 500])
    _, path = export(results, tmp_path / "out")
    durations = []
    for file in (tmp_path / "clip.mkv", path):
        with av.open(str(file)) as container:
            durations.append(container.duration / 1e6)
    assert durations[1] == pytest.approx(durations[0], abs=0.005)


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_stay_so(tmp_path, make, turned):
    height, width = SHAPE[::-1] if turned else SHAPE
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(16, 11)
        if turned:
            video.set_display_rotation(90)
        pixels = np.zeros((video.height, video.width, 3), np.uint8)
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    upright = (video.width, video.height) if turned else (video.height, video.width)
    item = replace(
        make.video_results()[0][0],
        path=str(tmp_path / "wide.mp4"),
        height=upright[0],
        width=upright[1],
    )
    _, path = export(make.results([(item, [])]), tmp_path / "out")
    with av.open(str(path)) as container:
        aspect = container.streams.video[0].sample_aspect_ratio
    assert aspect == (Fraction(11, 16) if turned else Fraction(16, 11))


def write_slides(path, num_frames, last):
    """Frames 40 ms apart, of which the last one stays for `last` ms."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", options={"strict": "unofficial"})
        video.width, video.height, video.pix_fmt = SHAPE[1], SHAPE[0], "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((*SHAPE, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number * 40, Fraction(1, 1000)
            for packet in video.encode(frame):
                packet.duration = 40 if number < num_frames - 1 else last
                container.mux(packet)


@pytest.mark.parametrize(("every", "duration"), [(1, 3.2), (2, 0.24)])
def test_a_last_frame_that_stays_long_does_so_if_it_was_looked_at(tmp_path, make, every, duration):
    write_slides(tmp_path / "slides.mov", 6, last=3000)
    item, masks = make.every(every, *make.video_results(6 // every)[0])
    results = make.results([(replace(item, path=str(tmp_path / "slides.mov")), masks)])
    _, path = export(results, tmp_path / "out")
    with av.open(str(path)) as container:
        assert container.duration / 1e6 == pytest.approx(duration, abs=0.005)


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_sound_is_copied_and_ends_with_the_pictures(source, tmp_path, codec):
    _, path = export(source(sound=codec), tmp_path / "out")
    with av.open(str(path)) as container:
        (audio,) = container.streams.audio
        assert audio.codec_context.name == codec
        samples = sum(frame.samples for frame in container.decode(audio))
        assert samples / 48_000 == pytest.approx(0.5, abs=0.05)


def test_sound_that_mp4_does_not_take_is_left_out_and_told(source, tmp_path):
    exported, path = export(source(sound="pcm_s16le"), tmp_path / "out")
    assert "sound left out" in exported.notes[0]
    with av.open(str(path)) as container:
        assert not container.streams.audio


def write_stream(path):
    """Half a second of MPEG-TS, the headers of some sound frames overwritten."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = SHAPE[1], SHAPE[0], "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        tone = (np.sin(np.arange(24_000) / 20) * 8000).astype(np.int16)[None]
        sound = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        sound.rate, sound.pts = 48_000, 0
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.zeros((*SHAPE, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux([*video.encode(None), *audio.encode(sound), *audio.encode(None)])
    data = bytearray(path.read_bytes())
    at = 0
    for number in range(12):
        at = data.index(b"\xff\xf1", at + 1)  # every frame of AAC begins so
        data[at : at + 2] = b"\0\0" if number > 4 else b"\xff\xf1"
    path.write_bytes(data)


def test_titles_in_another_encoding_do_not_stop_the_export(tmp_path, make):
    write_source(tmp_path / "clip.avi", times=range(0, 240, 40), sound="mp3", title="Baum")
    data = (tmp_path / "clip.avi").read_bytes()
    assert data.count(b"INAM") == 1 and data.count(b"Baum") == 1
    (tmp_path / "clip.avi").write_bytes(data.replace(b"Baum", "Bäum".encode("latin-1")))
    item, masks = make.video_results()[0]
    results = make.results([(replace(item, path=str(tmp_path / "clip.avi")), masks)])
    exported, path = export(results, tmp_path / "out")
    assert (exported.count, exported.notes) == (1, ())
    with av.open(str(path)) as container:
        assert container.streams.audio


def test_damaged_sound_does_not_stop_the_export_and_is_told(tmp_path, make):
    write_stream(tmp_path / "clip.ts")
    item, masks = make.video_results(12)[0]
    results = make.results([(replace(item, path=str(tmp_path / "clip.ts")), masks)])
    exported, path = export(results, tmp_path / "out")
    assert exported.notes == ("v/clip.mp4: damaged parts of the sound left out",)
    assert len(frames(path)) == 12
    with av.open(str(path)) as container:
        assert 0 < sum(packet.size > 0 for packet in container.demux(audio=0)) < 20


def test_two_exports_give_the_same_bytes(source, tmp_path):
    results = source(sound="aac")
    one, two = (export(results, tmp_path / name)[1] for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_sampled_frames_last_until_the_next_one(source, tmp_path, make):
    results = source(times=range(0, 600, 40))
    _, path = export(make.results([make.every(2, *results.results[0])]), tmp_path / "out")
    assert [time for time, _ in frames(path)] == [0, 80, 160, 240, 320, 400]


def test_a_folder_of_frames_becomes_ten_frames_a_second(tmp_path, make):
    (tmp_path / "frames").mkdir()
    for number in range(6):
        path = tmp_path / "frames" / f"{number}.png"
        Image.new("RGB", SHAPE[::-1], (20 * number,) * 3).save(path)
    item, masks = make.video_results()[0]
    results = make.results([(replace(item, path=str(tmp_path / "frames"), fps=None), masks)])
    _, path = export(results, tmp_path / "out")
    assert [time for time, _ in frames(path)] == [0, 100, 200, 300, 400, 500]


def test_a_source_that_is_gone_is_told_and_leaves_nothing(source, tmp_path):
    results = source()
    (tmp_path / "clip.mkv").unlink()
    exported, path = export(results, tmp_path / "out")
    assert exported.count == 0 and "clip.mkv" in exported.notes[0]
    assert list(path.parent.iterdir()) == []


def test_a_video_that_the_encoder_refuses_is_told_and_the_other_formats_are_written(tmp_path, make):
    (tmp_path / "frames").mkdir()
    for number in range(2):  # H.264 ends at 16,384 pixels a side
        Image.new("RGB", (16_400, 8)).save(tmp_path / "frames" / f"{number}.png")
    item, _ = make.video_results(2)[0]
    wide = replace(item, path=str(tmp_path / "frames"), objects=(), width=16_400, height=8)
    exported, failures = export_results(
        make.results([(wide, [])]), ["video", "failures"], tmp_path / "out"
    )
    assert exported.count == 0 and "16400 x 8 cannot be encoded" in exported.notes[0]
    assert failures.path.is_file()
    assert not [path for path in (tmp_path / "out/overlays").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_is_an_error(source, tmp_path):
    (tmp_path / "out" / "overlays" / "v" / "clip.mp4.overlay.mp4").mkdir(parents=True)
    with pytest.raises(JobError, match="Cannot write"):
        export(source(), tmp_path / "out")


def test_frames_of_a_folder_keep_their_names_in_submissions(tmp_path, make):
    (tmp_path / "frames").mkdir()
    for number in range(0, 30, 5):
        Image.new("RGB", SHAPE[::-1]).save(tmp_path / "frames" / f"{number:05d}.jpg")
    item, masks = make.video_results()[0]
    results = make.results([(replace(item, path=str(tmp_path / "frames")), masks)])
    export_results(results, ["ref-vos", "davis"], tmp_path / "out")
    for folder in ("ref_vos/Annotations/v/clip.mp4/0", "davis/Annotations/v/clip.mp4"):
        names = sorted(path.name for path in (tmp_path / "out" / folder).iterdir())
        assert names == [f"{number:05d}.png" for number in range(0, 30, 5)]
