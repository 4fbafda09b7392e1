"""The architecture, as a test: what each part may import from the others. Arrows go down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sa2va_cli

BASE = {"errors", "masks", "results", "config", "prefetch", "glibc", "resources"}
MAY_IMPORT = {
    "errors": set(),
    "masks": set(),
    "results": {"masks"},
    "config": {"errors"},
    "prefetch": set(),
    "glibc": set(),
    "resources": set(),
    "media": BASE,
    "tasks": BASE,
    "models": BASE,
    "demo": BASE | {"models", "media"},
    "bench": BASE | {"models", "tasks", "demo"},
    "jobs": BASE | {"media", "tasks", "models"},
    "runners": BASE | {"media", "tasks", "models", "jobs"},
    "exporters": BASE | {"media"},
    "evaluation": BASE | {"media"},
}  # cli may import anything, and nothing imports cli
PACKAGE = Path(sa2va_cli.__file__).parent


def imported_parts(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in modules if name and name.startswith("sa2va_cli.")}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_go_down_only(part):
    for path in [*PACKAGE.glob(f"{part}.py"), *PACKAGE.glob(f"{part}/**/*.py")]:
        assert imported_parts(path) <= MAY_IMPORT[part] | {part}, path


def test_every_part_has_a_row_in_the_table():
    parts = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts <= MAY_IMPORT.keys() | {"__init__", "cli"}


def test_help_does_not_wait_for_torch():
    code = "import sys, sa2va_cli.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
