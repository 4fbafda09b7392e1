import pytest

from sa2va_cli.cli.guard import print_error


@pytest.mark.parametrize("value, coloured", [("1", False), ("", True)])
def test_errors_are_red_on_a_terminal_unless_no_colour_is_wanted(
    value, coloured, monkeypatch, capsys
):
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    print_error("Error: so it is.", err=True)
    assert ("\x1b[31m" in capsys.readouterr().err) is coloured
