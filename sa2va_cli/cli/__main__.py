"""`python -m sa2va_cli.cli` is the `sa2va` command."""

from sa2va_cli.cli.app import main

if __name__ == "__main__":  # spawned workers import this module too, under another name
    main()
