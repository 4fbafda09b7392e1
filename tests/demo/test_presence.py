"""Measuring presence: the numbers are right, and the shipped weights are worth the question."""

import re
import subprocess
import sys

import numpy as np
import pytest

from sa2va_cli.demo.presence import area_under_curve, table
from sa2va_cli.masks import encode_rle


@pytest.mark.parametrize(
    ("there", "absent", "area"),
    [([0.9, 0.8], [0.1, 0.2], 1.0), ([0.1], [0.9], 0.0), ([0.5], [0.5], 0.5), ([3, 1], [2], 0.5)],
)
def test_the_area_is_how_often_what_is_there_stands_higher(there, absent, area):
    assert area_under_curve(there, absent) == area


def test_the_table_holds_answers_against_the_truth():
    empty, full = (encode_rle(np.full((2, 2), there)) for there in (False, True))
    truth = {"a.png": {"the star": [full], "the ring": [empty]}}
    mask = {"object_score": 0.5, "seg_probability": 0.5, "score": 0.5}
    lines = [
        {"item_id": "a.png", "prompt": "the star", "presence": 0.8, "objects": [mask]},
        {"item_id": "a.png", "prompt": "the ring", "presence": 0.3, "objects": [mask]},
    ]
    rows = table(lines, truth).splitlines()
    assert "1 there, 1 not" in rows[0]
    areas = [float(row.split("|")[2]) for row in rows[2:]]
    assert areas == [1.0, 0.5, 0.5, 0.5, 0.5, 1.0]


@pytest.mark.slow
def test_presence_tells_more_than_any_score_of_a_mask(tmp_path):
    command = [sys.executable, "-m", "sa2va_cli.demo.presence", str(tmp_path), "--images", "100"]
    done = subprocess.run([*command, "--devices", "cpu:1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    presence, *others = (float(area) for area in re.findall(r"\| (\d\.\d+) \|", done.stdout))
    assert presence > 0.85
    assert presence > max(others[:4])
