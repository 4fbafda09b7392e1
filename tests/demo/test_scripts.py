"""The scripts of the demo world, as people run them: mistakes, and going on."""

import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from sa2va_cli.demo.script import run_script
from sa2va_cli.demo.train import STAGES, Run, is_over


@pytest.fixture
def script(monkeypatch, capsys):
    """Run one here, where torch is loaded already: its exit code, and what it said."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            run_script(import_module(f"sa2va_cli.demo.{name}").main)
        except SystemExit as ended:
            return ended.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("train", ["--state", "FILE"], "Cannot write to"),
        ("train", ["--state", "STATE", "--from-checkpoint", "nothing"], "No config.json"),
        ("train", ["--state", "STATE"], "look.pt is damaged"),
        ("train", ["--workers", "0"], "less than 1"),
        ("train", ["--minutes", "0"], "not more than 0"),
        ("train", ["--device", "cuda:99"], "no device"),
        ("evaluate", ["--videos", "-1"], "less than 0"),
        ("evaluate", ["--checkpoint", "/no/such"], "No model folder"),
        ("evaluate", ["--json", "FILE/scores.json"], "Cannot write to"),
        ("draw", ["FILE"], "Cannot write to"),
        ("export", ["EMPTY", "checkpoint"], "No stage was trained"),
    ],
)
def test_a_mistake_ends_with_a_message(script, tmp_path, monkeypatch, name, arguments, reason):
    (tmp_path / "FILE").touch()
    for folder in ("EMPTY", "STATE"):
        (tmp_path / folder).mkdir()
    (tmp_path / "STATE" / "look.pt").write_text("no state")
    monkeypatch.chdir(tmp_path)
    code, said = script(name, *arguments)
    assert code == 2 and reason in said
    assert not (tmp_path / "checkpoint").exists()


def test_a_mistake_is_told_in_two_lines():
    here = Path(__file__)
    command = [sys.executable, "-m", "sa2va_cli.demo.draw", str(here)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 2
    assert [line.partition(":")[0] for line in run.stderr.splitlines()] == ["Error", "Hint"]


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_state_that_holds_code_is_not_run(script, tmp_path):
    trap, state = tmp_path / "sprung", tmp_path / "look.pt"
    torch.save({"learner": Trap(str(trap))}, state)
    code, said = script("train", "--state", tmp_path, "--workers", 1)
    assert code == 2 and "damaged" in said and not trap.exists()
    state.write_bytes(pickle.dumps(Trap(str(trap)), protocol=2))
    code, said = script("export", tmp_path, tmp_path / "checkpoint")
    assert code == 2 and "damaged" in said and not trap.exists()


def test_a_stage_that_is_over_goes_on_when_more_is_wanted(script, tmp_path):
    pictures = STAGES["look"]().pictures
    state = {"learner": {}, "optimisers": {}, "step": 9, "pictures": pictures, "seconds": 60.0}
    torch.save(state, tmp_path / "look.pt")

    def over(scale, minutes):
        return is_over(Run(tmp_path, ("look",), 1, scale, minutes, "cpu", 0), "look")

    assert over(1.0, None) and over(2.0, 1.0)
    assert not over(2.0, None) and not over(2.0, 3.0)
    code, said = script("train", "--state", tmp_path, "--stages", "look", "--workers", 1)
    assert code == 0 and "raise --scale or --minutes" in said
