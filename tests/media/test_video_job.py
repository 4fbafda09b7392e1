"""Videos of every kind through a whole job: right frames and durations, or a clear failure."""

import shutil
import signal
import threading
from pathlib import Path

import av
import psutil
import pytest

from sa2va_cli.exporters import export_results
from sa2va_cli.jobs.reader import StoreReader
from tests.jobs.runs import job, run_job

ODD = Path(__file__).parents[1] / "data" / "odd"


def annotate(folder, **options):
    """Items by name without suffix, and reasons of failures by name."""
    run_job(job(folder, inputs=(str(folder / "in"),), devices="cpu", **options))
    with StoreReader(folder / "out") as reader:
        items = {Path(item.item_id).stem: item for item in reader.items()}
        export_results(reader, ["video", "youtube-vis"], folder / "out")
        return items, {Path(f.item_id).stem: f.reason for f in reader.failures()}


def test_real_and_odd_videos_come_out_right_or_fail_clearly(make_video, tmp_path):
    (tmp_path / "in").mkdir()
    uneven = [idx * 40 + (1000 if idx > 10 else 0) for idx in range(30)]
    for name, codec, options in (
        ("turned.mp4", "libx264", {"rotation": 90}),
        ("uneven.mkv", "libx264", {"times": uneven}),
        ("hevc.mp4", "libx265", {"x265-params": "log-level=none"}),
        ("vp9.webm", "libvpx-vp9", {}),
        ("promises.avi", "mpeg4", {}),  # its header counts more frames than there are
    ):
        shutil.copy(make_video(f"job-{name}", codec, **options), tmp_path / "in" / name)
    cut = make_video("job-whole.mkv", size=(320, 240), g="10").read_bytes()
    (tmp_path / "in" / "cut.mkv").write_bytes(cut[: len(cut) // 2])
    for name in ("video_audio_only.mp4", "video_no_stream.mp4", "video_truncated.mkv"):
        shutil.copy(ODD / name, tmp_path / "in")

    items, failures = annotate(tmp_path)
    assert failures.keys() == {"video_audio_only", "video_no_stream", "video_truncated"}
    assert "it has no video stream, only sound" in failures["video_audio_only"]
    sizes = {name: (item.width, item.height) for name, item in items.items()}
    assert sizes.pop("cut") == (320, 240)
    assert sizes.pop("turned") == (64, 96), "upright"
    assert set(sizes.values()) == {(96, 64)}
    assert 5 < items["cut"].num_frames < 25
    assert {items[name].num_frames for name in sizes} == {30}
    assert items["promises"].notes == ("the header says 1200 frames, the file holds 30",)
    durations = {"turned": 1.2, "hevc": 1.2, "vp9": 1.2, "uneven": 2.2}
    for name, seconds in durations.items():
        path = next((tmp_path / "out" / "overlays").glob(f"{name}.*.overlay.mp4"))
        with av.open(str(path)) as container:
            assert container.duration / 1e6 == pytest.approx(seconds, abs=0.1), name


def test_a_decoder_that_never_returns_is_stopped_and_recorded(make_video, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(make_video("job-h264.mp4"), tmp_path / "in" / name)
    ended = threading.Event()
    watcher = threading.Thread(target=stop_decoders_of, args=("a.mp4", ended))
    watcher.start()
    try:
        items, failures = annotate(tmp_path, item_timeout=30)
    finally:
        ended.set()
        watcher.join()
    assert failures["a"].endswith("the decoder gave no sign of life for 10 s.")
    assert items["b"].num_frames == 30


def stop_decoders_of(name, ended):
    """Each is stopped as soon as it is there, so it never says a word."""
    while not ended.wait(0.005):
        for process in psutil.Process().children(recursive=True):
            try:
                words = process.cmdline()
                if "sa2va_cli.media.decoder" in words and name in words[-1]:
                    process.send_signal(signal.SIGSTOP)
            except psutil.NoSuchProcess:
                continue
