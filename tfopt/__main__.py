"""`python -m tfopt` is the `tfopt` command."""

from tfopt.cli import main

main()
