"""The small parts of a chat: readable text, pictures in terminals, transcripts."""

import base64
import io
import re

import pytest
from PIL import Image

from sa2va_cli.cli.history import history_path
from sa2va_cli.cli.inline import inline_protocol, iterm2, kitty, small_png
from sa2va_cli.cli.readable import ReadableText
from sa2va_cli.cli.transcript import Exchanged, read_transcript, transcript_json, transcript_text

RAW = "Sure, <p> a cat </p> [SEG] and [S], a < b, <vp>1</vp> [SEG] </p> <p> .<|im_end|>"
READABLE = "Sure, a cat [1] and [S], a < b, 1 [2] ."


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_text_is_readable_however_it_comes_in(size):
    text = ReadableText()
    pieces = [text.feed(RAW[start : start + size]) for start in range(0, len(RAW), size)]
    assert "".join(pieces) + text.finish() == READABLE


def test_what_may_become_a_tag_waits_but_not_for_ever():
    text = ReadableText()
    assert text.feed("1 <") == "1"
    assert text.feed(" 2 and then some more words") == " < 2 and then some more words"
    assert text.feed("[SE") == "" and text.finish() == "[SE"


def test_an_answer_gives_the_terminal_no_orders():
    assert ReadableText().feed("a\x1b]0;title\x07b\r\n\tc\x9b2J") == "a]0;titleb\n\tc2J"


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, kitty),
        ({"TERM": "xterm", "KITTY_WINDOW_ID": "1"}, kitty),
        ({"TERM_PROGRAM": "iTerm.app"}, iterm2),
        ({"TERM_PROGRAM": "WezTerm"}, iterm2),
        ({"LC_TERMINAL": "iTerm2"}, iterm2),
        ({"TERM_PROGRAM": "iTerm.app", "TMUX": "/tmp/x"}, None),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_pictures_go_only_to_terminals_that_show_them(environment, protocol):
    assert inline_protocol(environment) is protocol


def test_a_picture_arrives_whole_in_both_protocols(tmp_path):
    Image.effect_noise((1600, 900), 90).save(tmp_path / "large.png")
    png = small_png(tmp_path / "large.png")
    assert Image.open(io.BytesIO(png)).size == (640, 360)
    sent = "".join(re.findall(r"\x1b_G[^;]*;([^\x1b]*)\x1b\\", kitty(png)))
    assert base64.b64decode(sent) == png
    assert kitty(png).count("m=0") == 1 and kitty(png).startswith("\x1b_Ga=T,f=100")
    assert base64.b64decode(iterm2(png).partition(":")[2].removesuffix("\a")) == png


def test_a_transcript_is_read_back_as_it_was(tmp_path):
    turns = [
        Exchanged("<image>\nWas? 猫", "Ja [SEG].<|im_end|>", ("m.png",), "o.png", "masks"),
        Exchanged("Und?", "Nein.<|im_end|>"),
    ]
    path = tmp_path / "talk.json"
    path.write_text(transcript_json("cat.jpg", turns))
    assert read_transcript(path) == turns
    assert transcript_text("cat.jpg", turns) == (
        "cat.jpg\n\n> Was? 猫\n  region: m.png\nJa [1].\n  o.png\n\n> Und?\nNein.\n"
    )


def test_history_is_where_state_belongs_and_nowhere_without_a_home(tmp_path):
    assert history_path({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "sa2va" / "chat_history"
    assert history_path({"XDG_STATE_HOME": "~nobody-of-this-name/state"}) is None
