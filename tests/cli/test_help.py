import os
import subprocess
import sys

import pytest


def sa2va_help(*arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    run = subprocess.run(
        [sys.executable, "-m", "sa2va_cli.cli", *arguments],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return run.stdout


@pytest.mark.parametrize("name", ["annotate", "status", "merge"])
def test_help_fits_80_columns_and_leads_with_examples(name):
    text = sa2va_help(name, "--help")
    assert max(map(len, text.splitlines())) <= 80
    assert 0 < text.index(f"\n sa2va {'annotate' if name == 'merge' else name} ") < text.index("─")


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
