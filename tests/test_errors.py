import pickle

import pytest

from sa2va_cli.errors import Sa2vaError, unknown_name


@pytest.mark.parametrize("error_type", [Sa2vaError, *Sa2vaError.__subclasses__()])
def test_errors_survive_the_way_back_from_a_worker(error_type):
    error = error_type("cannot decode a.png", hint="is it an image?")
    assert str(pickle.loads(pickle.dumps(error))) == "cannot decode a.png\nHint: is it an image?"


def test_an_unknown_name_lists_the_known_ones():
    assert str(unknown_name("format", "x", ["coco", "a"])).endswith("choose one of a, coco")
