import os
import subprocess
import sys

import pytest

from sa2va_cli import __version__


def sa2va_help(*arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    run = subprocess.run(
        [sys.executable, "-m", "sa2va_cli.cli", *arguments],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return run.stdout


COMMANDS = ["", "annotate", "status", "export", "merge", "ask", "chat", "bench", "model"]
COMMANDS += ["model info"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_leads_with_examples(name):
    text = sa2va_help(*name.split(), "--help")
    assert max(map(len, text.splitlines())) <= 80
    usage, _, rest = text.partition("Usage: sa2va ")
    lines = rest.partition("╭")[0].splitlines()
    assert not usage.strip()
    assert any(line.startswith(f" sa2va {name}".rstrip()) for line in lines)
    assert len(max(lines, key=len).rstrip()) < 80, "a sentence that the terminal had to break"


def test_every_command_has_one_line_in_the_list():
    listed = sa2va_help("--help").partition("Commands")[2].splitlines()[1:-1]
    names = [line.strip("│ ").split()[0] for line in listed if line.startswith("│")]
    assert names == [name for name in COMMANDS if name and " " not in name]


def test_the_version_is_told():
    assert sa2va_help("--version") == f"sa2va {__version__}\n"


def test_help_loads_neither_torch_nor_numpy():
    code = (
        "import sys, sa2va_cli.cli.app; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_on_the_processor_loads_no_torch_in_the_parent(tmp_path):
    code = (
        "import sys, sa2va_cli.cli.annotate_job, sa2va_cli.jobs.model_source;"
        "from sa2va_cli.runners.devices import choose_devices;"
        "choose_devices('cpu:2'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
