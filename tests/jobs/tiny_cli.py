"""`sa2va` with the tiny model: `python -m tests.jobs.tiny_cli SECONDS BROKEN annotate …`."""

import sys

from sa2va_cli.cli.app import main
from sa2va_cli.cli.services import Services
from tests.jobs.tiny import TinySource

if __name__ == "__main__":
    source = TinySource(float(sys.argv[1]), sys.argv[2])
    del sys.argv[1:3]
    main(Services(source_of=lambda config: source))
