import pytest

from sa2va_cli.config import Prompt, parse_prompt, spell_prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.prompt_file import read_prompts

CAR, DOG = Prompt("car", "the red car"), Prompt("a dog", "a dog")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", "# things\ncar=the red car\n\n  a dog \n"),
        ("p.txt", "\ufeffcar=the red car\r\na dog\r\n"),
        ("p.yaml", "- car=the red car\n- a dog\n"),
        ("p.yml", "car: the red car\na dog: [a dog]\n"),
        ("p.json", '["car=the red car", "a dog"]'),
        ("p.json", '{"car": "the red car", "a dog": "a dog"}'),
        ("p.csv", "category,prompt\ncar,the red car\n,a dog\n"),
        ("p.csv", "Prompt,Category\nthe red car,car\na dog,a dog\n"),
        ("p.csv", "category;prompt\r\ncar;the red car\r\n;a dog\r\n"),
        ("p.csv", '\n"Prompt";"Category"\nthe red car;car\na dog\n'),
        ("p.csv", "prompt\tcategory\nthe red car\tcar\na dog\ta dog\t\n"),
        ("p.csv", "category,prompt,,\ncar,the red car,,\n,a dog,,\n"),
        ("p.CSV", "car=the red car\na dog\n"),
    ],
)
def test_prompts_are_read_from_any_of_these(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_prompts(tmp_path / name) == (CAR, DOG)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.doc", "x", r"a \.doc file cannot be read"),
        ("p.txt", "# nothing\n", "holds no prompt"),
        ("p.json", "{", "Cannot read prompts"),
        ("p.json", "3", "which is no prompt"),
        ("p.yaml", "car: {a: b}", "which is no sentence"),
        ("p.yaml", "off: the switch that is off", "the category False, which is no text"),
        ("p.yaml", "~: a dog", "the category None"),
        ("p.csv", "a,b\nc,d\n", "no column `prompt`"),
        ("p.csv", "category,prompt\ncar\n", "line 2, is a row without a prompt: car"),
        ("p.csv", "category,prompt\ncar,\n", "line 2, is a row without a prompt: car"),
        ("p.csv", "prompt\nthe square\nthe circle, which is red\n", "line 3, has more cells"),
        ("p.csv", "prompt,\nthe circle, which is red\n", "line 2, has more cells"),
        ("p.csv", "category;prompt\ncar;the car; red\n", "line 2, has more cells"),
        ("p.csv", "the square\nthe circle, which is red\n", "line 2, has more cells"),
    ],
)
def test_what_holds_no_prompts_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_prompts(tmp_path / name)


def test_a_sentence_with_a_comma_is_whole_in_quotation_marks_or_between_semicolons(tmp_path):
    quoted, separated = tmp_path / "quoted.csv", tmp_path / "separated.csv"
    quoted.write_text('prompt\n"the circle, which is red"\n')
    separated.write_text("category;prompt\n;the circle, which is red\n")
    assert read_prompts(quoted) == (parse_prompt("the circle, which is red"),)
    assert read_prompts(separated) == read_prompts(quoted)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.txt"):
        read_prompts(tmp_path / "none.txt")


@pytest.mark.parametrize("prompt", [CAR, DOG, Prompt("a=b", "a=b"), Prompt("x", "a = b")])
def test_the_spelling_of_a_prompt_is_read_as_the_same_prompt(prompt):
    assert parse_prompt(spell_prompt(prompt)) == prompt
