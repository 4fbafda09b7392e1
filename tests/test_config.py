import pytest

from sa2va_cli.config import Prompt, parse_prompt
from sa2va_cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("car=the red car", Prompt("car", "the red car")),
        (" car = the red car ", Prompt("car", "the red car")),
        ("the red car", Prompt("the red car", "the red car")),
        ("sum=the sign 1+1=2", Prompt("sum", "the sign 1+1=2")),
        ("=the sign 1+1=2", Prompt("the sign 1+1=2", "the sign 1+1=2")),
    ],
)
def test_a_prompt_may_name_its_category(text, prompt):
    assert parse_prompt(text) == prompt


def test_bytes_that_are_no_text_are_told_at_once():
    with pytest.raises(UsageError, match=r"'caf\\udce9' is no valid unicode"):
        parse_prompt(b"caf\xe9".decode("utf-8", "surrogateescape"))
