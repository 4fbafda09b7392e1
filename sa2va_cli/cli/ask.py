"""`sa2va ask`: one question about one picture or clip, for scripts."""

from sa2va_cli.cli import options as o
from sa2va_cli.cli import talk_options as t


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
    sam2_weights: o.Sam2Weights = None,
    fps: o.Fps = None,
    every: o.Every = None,
    start: o.Start = None,
    end: o.End = None,
    max_frames: o.MaxFrames = None,
    key_frames: o.KeyFrames = None,
    key_sampling: o.KeySampling = None,
    video_mode: o.VideoMode = None,
) -> None:
    """Ask one question about one picture or clip; the answer goes to standard output.

    \b
    sa2va ask photo.jpg "What is the dog doing?"
    sa2va ask photo.jpg "Please segment the dog." --json | jq .objects
    sa2va ask clip.mp4 "Please segment the dog." -o masks/
    sa2va ask photo.jpg "What is region1?" --region mask.png

    For many files: sa2va annotate --task ask.
    """
    given = dict(locals())
    from sa2va_cli.cli.ask_run import ask_run  # these load NumPy: not for --help
    from sa2va_cli.cli.load import load_model, talk_config
    from sa2va_cli.cli.medium import load_regions, open_medium

    config = talk_config(given)
    regions = load_regions(region or [])
    with open_medium(medium, config) as opened:
        answered = ask_run(load_model(config, device), opened, question, regions)
    answered.write(as_json, output)
