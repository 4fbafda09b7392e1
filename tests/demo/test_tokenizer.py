import json

import pytest

from sa2va_cli.demo.phrases import VALUES
from sa2va_cli.demo.tokenizer import SPECIAL_TOKENS, write_tokenizer
from sa2va_cli.models.sa2va.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("word", [value for values in VALUES for value in values])
def test_each_word_of_the_world_is_one_token(folder, word):
    assert len(Tokenizer(folder).encode(f" {word}")) == 1


@pytest.mark.parametrize("text", ["the giraffe", "Zürich 東京 🙂", "Sure, <p> a star </p> [SEG]."])
def test_any_text_survives(folder, text):
    tokenizer = Tokenizer(folder)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_tokens_of_sa2va_come_last(folder):
    tokenizer = Tokenizer(folder)
    by_id = sorted(tokenizer.vocab, key=tokenizer.vocab.__getitem__)
    assert by_id[-5:] == ["[SEG]", "<p>", "</p>", "<vp>", "</vp>"]
    assert tuple(by_id[-len(SPECIAL_TOKENS) :]) == SPECIAL_TOKENS


def test_the_older_files_say_the_same(folder):
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    assert json.loads((folder / "vocab.json").read_text()) == model["vocab"]
    merges = (folder / "merges.txt").read_text().splitlines()[1:]
    assert merges == [" ".join(pair) for pair in model["merges"]]
    added = json.loads((folder / "added_tokens.json").read_text())
    assert set(added) == set(SPECIAL_TOKENS)
