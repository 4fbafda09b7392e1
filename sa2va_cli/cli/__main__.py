"""`python -m sa2va_cli.cli`: the same as the `sa2va` command."""

from sa2va_cli.cli.app import main

if __name__ == "__main__":  # spawned workers import this module under another name
    main()
