"""`sa2va chat`: talk about one picture or clip in the terminal."""

from sa2va_cli.cli import options as o
from sa2va_cli.cli import talk_options as t
from sa2va_cli.config import JobConfig

DEFAULTS = JobConfig()


def chat(
    medium: t.Medium,
    output: t.AnswersDir = None,
    resume: t.Resume = None,
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
    """Talk about one picture or clip: ask, segment, ask on. It is looked at only once.

    \b
    sa2va chat photo.jpg
    sa2va chat clip.mp4 --fps 5 --end 20
    sa2va chat photo.jpg -o masks/ --resume talk.json
    > What is in the picture?
    > Please segment the red car.

    Ctrl-C ends an answer, Ctrl-D the session; /help lists the commands.
    """
    from sa2va_cli.cli.load import ModelChoice  # these load NumPy: not for --help
    from sa2va_cli.cli.medium import open_medium
    from sa2va_cli.cli.transcript import read_transcript
    from sa2va_cli.media.frames import FrameSampling

    sampling = FrameSampling(start or 0.0, end, fps, every or 1, max_frames)
    choice = ModelChoice(
        model or DEFAULTS.model, revision, bool(offline), device, dtype or "auto",
        attention or "auto",
    )  # fmt: skip
    earlier = read_transcript(resume) if resume else []
    with open_medium(medium, sampling) as opened:
        from sa2va_cli.cli.chat_run import chat_run

        chat_run(choice, opened, output, earlier)
