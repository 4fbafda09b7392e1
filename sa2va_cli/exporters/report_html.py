"""The report page itself: template, style and script in one file, and data that stay data."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from sa2va_cli.exporters.numbers import dump_json

SCRIPTS = ("page.js", "detail.js")


def page_parts() -> tuple[bytes, bytes]:
    """What stands before and after the page's data.

    The page's own policy lets the browser run this script and no other, whatever the data say,
    and talk to nobody.
    """
    style = _read("page.css")
    script = "\n".join(_read(name) for name in SCRIPTS)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {_digest(script)} 'self' file:; style-src {_digest(style)}; "
        "img-src 'self' file: data:; media-src 'self' file:"
    )
    page = _read("page.html")
    for name, text in (("policy", policy), ("style", style), ("script", script)):
        page = page.replace("{{" + name + "}}", text)
    before, after = page.split("{{data}}")
    return before.encode("utf-8"), after.encode("utf-8")


def script_safe(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it opens or closes a tag."""
    text = dump_json(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return files("sa2va_cli.exporters").joinpath("report_page", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
