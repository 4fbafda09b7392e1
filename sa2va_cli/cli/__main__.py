"""`python -m sa2va_cli.cli` is the `sa2va` command."""

from sa2va_cli.cli.app import main

main()
