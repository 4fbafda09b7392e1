import pytest

from sa2va_cli.config import Prompt, parse_prompt, spell_prompt
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


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (Prompt("the red car", "the red car"), "the red car"),
        (Prompt("car", "the red car"), "car=the red car"),
        (Prompt("sum", "1+1=2"), "sum=1+1=2"),
        (Prompt("1+1=2", "1+1=2"), "=1+1=2"),
        (Prompt("a", "b=c"), "a=b=c"),
        (Prompt("a=b", "c"), '{"category": "a=b", "text": "c"}'),
        (Prompt(" a", "c"), '{"category": " a", "text": "c"}'),
    ],
)
def test_each_prompt_has_a_spelling_of_its_own(prompt, text):
    assert spell_prompt(prompt) == text


def test_no_prompt_is_spelt_like_the_json_of_another():
    tricky = Prompt('{"category": "a', 'b", "text": "c"}')
    assert spell_prompt(tricky) != spell_prompt(Prompt("a=b", "c"))


def test_bytes_that_are_no_text_are_told_at_once():
    with pytest.raises(UsageError, match=r"'caf\\udce9' is no valid unicode"):
        parse_prompt(b"caf\xe9".decode("utf-8", "surrogateescape"))
