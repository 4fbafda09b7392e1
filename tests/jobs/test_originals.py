import os
import shutil

from sa2va_cli.jobs.originals import count_changed
from sa2va_cli.jobs.reader import StoreReader
from tests.jobs.runs import job, run_job
from tests.jobs.tiny import write_pictures


def changed(job_dir):
    with StoreReader(job_dir) as results:
        return count_changed(results)


def test_what_was_changed_in_place_is_counted(tmp_path):
    first, second, third, fourth = write_pictures(tmp_path / "in", 4)
    third.write_bytes(b"no picture")
    out = job(tmp_path, devices="cpu", runner="local")
    assert (run_job(out).done, changed(out.output)) == (3, 0)
    shutil.copy(second, first)
    assert changed(out.output) == 1
    os.utime(second, (0, 0))
    fourth.unlink()
    third.write_bytes(b"still none")
    assert changed(out.output) == 2, "neither what is gone nor what had failed"


def test_a_folder_of_frames_changes_with_any_of_them(tmp_path):
    frames = write_pictures(tmp_path / "in/clip", 7)
    frames[3].write_bytes(b"a broken frame")
    (tmp_path / "in/clip/a.mp4").write_bytes(b"\x1aE\xdf\xa3 a broken video beside them")
    (tmp_path / "in/clip/notes.txt").write_text("no frame")
    out = job(tmp_path, frames_as_video=True, devices="cpu", runner="local")
    assert (run_job(out).done, changed(out.output)) == (1, 0)
    os.utime(frames[5], (0, 0))
    assert changed(out.output) == 0, "not the newest, and as long: a run does not see it, either"
    frames[5].unlink()
    assert changed(out.output) == 1
