"""The `sa2va` command: each subcommand parses options and calls one library function."""

from collections.abc import Callable
from typing import Annotated

import typer

from sa2va_cli import __version__
from sa2va_cli.cli import model
from sa2va_cli.cli.annotate import annotate
from sa2va_cli.cli.ask import ask
from sa2va_cli.cli.bench import bench
from sa2va_cli.cli.chat import chat
from sa2va_cli.cli.export import export
from sa2va_cli.cli.guard import run_guarded
from sa2va_cli.cli.merge import merge
from sa2va_cli.cli.plain_help import PlainCommand, PlainGroup
from sa2va_cli.cli.services import Services
from sa2va_cli.cli.status import status


def print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sa2va {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=PlainGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True),
]


@app.callback()
def describe(version: Version = False) -> None:
    """Sentences in, masks out: annotate folders of images and videos with Sa2VA.

    sa2va annotate photos/ -p "the red car" -p "every person" -o out/
    sa2va ask photo.jpg "How many people are there?"
    sa2va export out/ --format overlay,report

    No weights at hand? Add --model demo: a small model that knows drawn shapes.
    """


# In the order in which people meet them; their first lines fit one line of help.
COMMANDS: dict[str, Callable[..., None]] = {
    "annotate": annotate,
    "status": status,
    "export": export,
    "merge": merge,
    "ask": ask,
    "chat": chat,
    "bench": bench,
}
for _name, _command in COMMANDS.items():
    app.command(_name, cls=PlainCommand, no_args_is_help=_name != "bench")(_command)
app.add_typer(model.app, name="model")


def main(services: Services | None = None) -> None:
    """Entry point of the command."""
    services = services or Services()
    services.stop.install()
    run_guarded(lambda: app(obj=services, prog_name="sa2va"))
