"""`sa2va ask`: one question about one picture or clip, for scripts."""

from typing import Any

from sa2va_cli.cli import talk_options as t
from sa2va_cli.cli.guard import require_stdout
from sa2va_cli.errors import UsageError


@t.with_talk_options
def ask(
    medium: t.Medium,
    question: t.Question,
    as_json: t.Json = False,
    output: t.MasksDir = None,
    region: t.Regions = None,
    **talk: Any,
) -> None:
    """Ask one question about one picture or clip, for scripts.

    sa2va ask photo.jpg "What is the dog doing?"
    sa2va ask photo.jpg "Please segment the dog." --json | jq .objects
    sa2va ask clip.mp4 "Please segment the dog." -o masks/
    sa2va ask photo.jpg "What is region1?" --region mask.png

    The answer goes to standard output. For many files: sa2va annotate --task ask.
    """
    from sa2va_cli.cli.ask_run import ask_run  # these load NumPy: not for --help
    from sa2va_cli.cli.load import load_model, talk_config
    from sa2va_cli.cli.medium import load_regions, open_medium

    require_stdout()
    if not question.strip():
        raise UsageError("The question is empty.", hint='sa2va ask photo.jpg "What is it?"')
    device = talk.pop("device")
    config = talk_config(talk)
    with open_medium(medium, config) as opened:
        regions = load_regions(region or [], opened)
        answered = ask_run(load_model(config, device), opened, question, regions)
    answered.write(as_json, output)
