import io
import json
import os

import pytest

from sa2va_cli.config import Prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.media.discover import discover
from sa2va_cli.media.listing import read_manifest, read_paths


def paths(data, **options):
    return [given.path for given in read_paths(io.BytesIO(data), **options)]


def test_lines_end_at_the_line_feed_and_keep_everything_else():
    assert paths(b"a.png\n b c.png \r\n\n-x\n\xc3\xa9") == ["a.png", " b c.png ", "-x", "é"]


def test_a_list_from_a_windows_editor_begins_with_its_first_name():
    assert paths(b"\xef\xbb\xbfa.png\r\nb.png\r\n") == ["a.png", "b.png"]


def test_nul_separated_names_may_hold_line_feeds():
    assert paths(b"a\nb.png\0c.png\0", nul=True) == ["a\nb.png", "c.png"]


def test_nul_separated_names_that_are_read_as_lines_are_refused():
    with pytest.raises(UsageError, match="add -0"):
        paths(b"a.png\0b.png\0")


@pytest.mark.parametrize("name", ["a\\u0000.png", "\\ud800.png"])
def test_a_manifest_with_a_path_that_no_file_can_have_is_refused(tmp_path, name):
    (tmp_path / "list.jsonl").write_text(f'{{"path": "{name}"}}\n')
    with pytest.raises(UsageError, match=r"line 1: .* cannot be the name of a file"):
        read_manifest(tmp_path / "list.jsonl")


def test_names_that_are_not_utf8_keep_their_bytes():
    assert [os.fsencode(path) for path in paths(b"\xff.png\n")] == [b"\xff.png"]


def test_a_manifest_gives_each_file_its_prompts(tmp_path, make_image):
    make_image("sub/a.png")
    lines = [
        {"path": "sub/a.png", "prompts": ["the dog", "car=the red car"]},
        {"path": "sub/a.png", "prompts": [{"category": "sum", "text": "the sign with 1+1=2"}]},
    ]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n\n".join(map(json.dumps, lines)))
    (item,) = discover(read_manifest(manifest)).items
    assert (item.item_id, item.path) == ("sub/a.png", str(tmp_path / "sub/a.png"))
    assert item.prompts == (
        Prompt("the dog", "the dog"),
        Prompt("car", "the red car"),
        Prompt("sum", "the sign with 1+1=2"),
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: no JSON"),
        ('"a.png"', "line 2: no path"),
        ('{"path": ""}', "line 2: no path"),
        ('{"path": "a.png", "prompt": "x"}', "line 2: unknown key 'prompt'"),
        ('{"path": "a.png", "prompts": "x"}', "line 2: prompts is no list"),
        ('{"path": "a.png", "prompts": [1]}', "line 2: 1 is no prompt"),
        ('{"path": "a.png", "prompts": ["car="]}', "line 2: 'car=' is no prompt"),
        ('{"path": "a.png", "prompts": [{"category": "x", "text": " "}]}', "is no prompt"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, complaint):
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(f'{{"path": "b.png"}}\n{line}\n')
    with pytest.raises(UsageError, match=complaint):
        read_manifest(manifest)


def test_a_missing_manifest_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path / "none.jsonl")
