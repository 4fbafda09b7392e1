"""An export that is killed at any moment, and started again, writes what one left alone writes."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from pathlib import Path
from conftest import MemoryResults, image_results, video_results
from sa2va_cli.exporters import export_results
results = [(replace(item, item_id=f"{n:03d}/{item.item_id}"), masks)
           for n in range(8) for item, masks in image_results() + video_results()]
print("ready", flush=True)
names = ["coco", "masks", "youtube-vis", "ref-vos", "davis", "answers", "labelme", "jsonl"]
export_results(MemoryResults(results), names, Path(sys.argv[2]))
"""


def start(folder):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", SCRIPT, here, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(folder):
    with start(folder) as process:
        assert process.wait(60) == 0


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_kills_do_not_change_a_byte(tmp_path):
    finish(tmp_path / "alone")
    chance = random.Random(0)
    for _ in range(3):
        with start(tmp_path / "killed") as process:
            time.sleep(chance.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
    finish(tmp_path / "killed")
    assert tree(tmp_path / "killed") == tree(tmp_path / "alone")
