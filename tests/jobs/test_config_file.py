from pathlib import Path

import pytest

from sa2va_cli.config import JobConfig, Prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.config_file import make_config


@pytest.fixture
def config_of(tmp_path):
    """A config from YAML text and options of the command line."""

    def make(text: str, **given):
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return make_config(path, given)

    return make


def test_values_become_what_the_options_are(config_of):
    config = config_of(
        "inputs: photos/\noutput: out\nfps: 2\nevery: 3\nforce: yes\ndevices: 0\n"
        "format: [coco, x]\nmax-pixels: 100\nrevision:\n"
    )
    assert config == JobConfig(
        inputs=("photos/",), output=Path("out"), fps=2.0, every=3, force=True, devices="0",
        formats=("coco", "x"), max_pixels=100,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["off", "'off'", "OFF", "no"])
def test_presence_off_is_written_as_on_the_command_line(config_of, text):
    assert config_of(f"presence: {text}\n").presence == "off"


def test_the_command_line_wins(config_of):
    config = config_of("every: 3\nfps: 2.5\n", every=1)
    assert (config.every, config.fps) == (1, 2.5)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("promts", "prompts"),
        ("min_scores", "min-score"),
        ("device", "devices"),
        ("OUTPUT", "output"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_is_named(config_of, key, near):
    with pytest.raises(UsageError, match=f"Unknown key '{key}'") as error:
        config_of(f"{key}: 1\n")
    if key != "OUTPUT":
        assert f"did you mean '{near}'?" in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("every: many", "every in .* must be a whole number, not 'many'"),
        ("every: 2.5", "must be a whole number"),
        ("every: yes", "must be a whole number"),
        ("force: 1", "must be yes or no"),
        ("fps: fast", "must be a number"),
        ("inputs: [1, {a: b}]", "must be a text"),
        ("output: [a]", "must be a path"),
        ("- a", "is not a list of options"),
        ("a: [", "Cannot read the config file"),
    ],
)
def test_a_value_of_another_type_is_refused(config_of, line, message):
    with pytest.raises(UsageError, match=message):
        config_of(line + "\n")


def test_prompts_in_all_their_spellings(config_of):
    config = config_of("prompts: [a dog, car=the red car, {sign: [a sign, a board]}]\n")
    assert config.prompts == (
        Prompt("a dog", "a dog"),
        Prompt("car", "the red car"),
        Prompt("sign", "a sign"),
        Prompt("sign", "a board"),
    )


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read the config file .*none\.yaml"):
        make_config(tmp_path / "none.yaml", {})


def test_prompts_may_stand_in_a_file_of_their_own(config_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "things.txt").write_text("a dog\ncar=the red car\n")
    expected = (Prompt("a dog", "a dog"), Prompt("car", "the red car"))
    assert config_of("prompts: things.txt").prompts == expected
    with pytest.raises(UsageError, match=r"other\.txt"):
        config_of("prompts: other.txt")
    assert config_of("prompts: the word things.txt").prompts[0].text == "the word things.txt"


def test_null_is_an_option_and_not_nothing(config_of):
    assert config_of("null: true").null


def test_an_empty_file_changes_nothing(config_of):
    assert config_of("# nothing yet\n") == JobConfig()
