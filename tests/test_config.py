import pytest

from sa2va_cli.config import Prompt, parse_prompt


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
