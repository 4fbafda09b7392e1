import subprocess
import sys

import pytest

from sa2va_cli.errors import JobError
from sa2va_cli.exporters.files import OutputFolder, atomic_file, write_bytes


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.json"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError), atomic_file(path):
        raise ValueError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    (tmp_path / ".a.json.tmp").write_text("half")
    write_bytes(tmp_path / "a.json", b"whole")
    assert names(tmp_path) == ["a.json"]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "out"
    outside.mkdir(), inside.mkdir()
    (inside / "masks").symlink_to(outside)
    with pytest.raises(JobError, match="leads out of the output folder"):
        OutputFolder(inside).path("masks", "a.png")
    assert names(outside) == []


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "a.json").symlink_to(tmp_path / "precious")
    write_bytes(tmp_path / "a.json", b"new")
    assert (tmp_path / "precious").read_text() == "keep"
    assert not (tmp_path / "a.json").is_symlink()


def test_a_link_in_place_of_a_temporary_file_is_refused(tmp_path):
    (tmp_path / "precious").write_text("keep")
    (tmp_path / ".a.json.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(JobError):
        write_bytes(tmp_path / "a.json", b"new")
    assert (tmp_path / "precious").read_text() == "keep"


def test_a_place_that_is_no_folder_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "text").touch()
    with pytest.raises(JobError, match=r"Cannot write .*text/a\.json: Not a directory"):
        write_bytes(tmp_path / "text" / "a.json", b"new")


def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from sa2va_cli.exporters.files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bytes(Path(sys.argv[1]), bytes(5000))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "JobError: Cannot write" in done.stderr and "Hint: is the disk full" in done.stderr
    assert names(tmp_path) == []
