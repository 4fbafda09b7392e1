"""Errors at the very top: lack of memory is told, what is a bug is not hidden."""

import json

import pytest
import torch

from sa2va_cli.cli.guard import print_error, run_guarded


def failing(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        MemoryError("no room"),
    ],
)
def test_a_device_that_is_full_is_told_without_a_traceback(error, capsys):
    with pytest.raises(SystemExit) as left:
        run_guarded(failing(error))
    told = capsys.readouterr().err
    assert left.value.code == 1
    assert told.startswith("Error: Out of memory: ") and "nvidia-smi" in told
    with pytest.raises(SystemExit):
        run_guarded(failing(error), json_log=True)
    assert json.loads(capsys.readouterr().err)["exit_code"] == 1


def test_a_bug_is_not_taken_for_it():
    with pytest.raises(RuntimeError, match="assert"):
        run_guarded(failing(RuntimeError("CUDA error: device-side assert triggered")))


@pytest.mark.parametrize("value, coloured", [("1", False), ("", True)])
def test_errors_are_red_on_a_terminal_unless_no_colour_is_wanted(
    value, coloured, monkeypatch, capsys
):
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    print_error("Error: so it is.", err=True)
    assert ("\x1b[31m" in capsys.readouterr().err) is coloured
