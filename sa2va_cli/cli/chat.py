"""`sa2va chat`: talk about one picture or clip in the terminal."""

from typing import Any

from sa2va_cli.cli import talk_options as t


@t.with_talk_options
def chat(
    medium: t.Medium,
    output: t.AnswersDir = None,
    resume: t.Resume = None,
    **talk: Any,
) -> None:
    """Talk about one picture or clip: ask, segment, ask on.

    sa2va chat photo.jpg
    sa2va chat clip.mp4 --fps 5 --end 20
    sa2va chat photo.jpg -o masks/ --resume talk.json
    > What is in the picture?
    > Please segment the red car.

    The picture is looked at only once. Ctrl-C ends an answer, Ctrl-D the session;
    /help lists the commands.
    """
    from sa2va_cli.cli.chat_run import chat_run  # these load NumPy: not for --help
    from sa2va_cli.cli.load import talk_config
    from sa2va_cli.cli.medium import open_medium
    from sa2va_cli.cli.transcript import read_transcript

    device = talk.pop("device")
    config = talk_config(talk)
    earlier = read_transcript(resume) if resume else []
    with open_medium(medium, config) as opened:
        chat_run(config, device, opened, output, earlier)
