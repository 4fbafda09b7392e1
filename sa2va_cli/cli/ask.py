"""`sa2va ask`: one question about one picture or clip, for scripts."""

from sa2va_cli.cli import options as o
from sa2va_cli.cli import talk_options as t
from sa2va_cli.config import JobConfig

DEFAULTS = JobConfig()


def ask(
    medium: t.Medium,
    question: t.Question,
    as_json: t.Json = False,
    output: t.MasksDir = None,
    region: t.Regions = None,
    model: o.Model = None,
    revision: o.Revision = None,
    offline: o.Offline = None,
    device: t.Device = "auto",
    dtype: o.Dtype = None,
    attention: o.Attention = None,
    fps: o.Fps = None,
    every: o.Every = None,
    start: o.Start = None,
    end: o.End = None,
    max_frames: o.MaxFrames = None,
) -> None:
    """Ask one question about one picture or clip; the answer goes to standard output.

    \b
    sa2va ask photo.jpg "What is the dog doing?"
    sa2va ask photo.jpg "Please segment the dog." --json | jq .objects
    sa2va ask clip.mp4 "Please segment the dog." -o masks/
    sa2va ask photo.jpg "What is region1?" --region mask.png

    For many files: sa2va annotate --task ask.
    """
    from sa2va_cli.cli.ask_run import ask_run  # these load NumPy: not for --help
    from sa2va_cli.cli.load import ModelChoice
    from sa2va_cli.cli.medium import load_regions, open_medium
    from sa2va_cli.media.frames import FrameSampling

    sampling = FrameSampling(start or 0.0, end, fps, every or 1, max_frames)
    choice = ModelChoice(
        model or DEFAULTS.model, revision, bool(offline), device, dtype or "auto",
        attention or "auto",
    )  # fmt: skip
    regions = load_regions(region or [])
    with open_medium(medium, sampling) as opened:
        answered = ask_run(choice, opened, question, regions)
    answered.write(as_json, output)
