"""`sa2va status`: how a job stands."""

import json

import typer

from sa2va_cli.cli import options as o
from sa2va_cli.cli.guard import require_stdout


def status(job_dir: o.JobDir, as_json: o.AsJson = False) -> None:
    """Show how far a job is, whether it runs, and how fast.

    sa2va status out/
    sa2va status out/ --json | jq .left
    """
    from sa2va_cli.jobs.progress import visible_lines
    from sa2va_cli.jobs.status import job_folders, job_status  # loads NumPy: not for --help

    require_stdout()
    statuses = [job_status(folder) for folder in job_folders(job_dir)]
    if as_json:
        whole = {
            name: sum(getattr(one, name) for one in statuses)
            for name in ("done", "failed", "left", "masks")
        }
        parts = [one.to_json() for one in statuses]
        typer.echo(json.dumps(whole | {"running": any(s.running for s in statuses), "jobs": parts}))
    else:
        typer.echo("\n".join(visible_lines(one.text()) for one in statuses))
