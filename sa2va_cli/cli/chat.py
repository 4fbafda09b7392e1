"""`sa2va chat`: talk about one picture or clip in the terminal."""

from sa2va_cli.cli import options as o
from sa2va_cli.cli import talk_options as t


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
    """Talk about one picture or clip: ask, segment, ask on. It is looked at only once.

    \b
    sa2va chat photo.jpg
    sa2va chat clip.mp4 --fps 5 --end 20
    sa2va chat photo.jpg -o masks/ --resume talk.json
    > What is in the picture?
    > Please segment the red car.

    Ctrl-C ends an answer, Ctrl-D the session; /help lists the commands.
    """
    given = dict(locals())
    from sa2va_cli.cli.chat_run import chat_run  # these load NumPy: not for --help
    from sa2va_cli.cli.load import talk_config
    from sa2va_cli.cli.medium import open_medium
    from sa2va_cli.cli.transcript import read_transcript

    config = talk_config(given)
    earlier = read_transcript(resume) if resume else []
    with open_medium(medium, config) as opened:
        chat_run(config, device, opened, earlier)
