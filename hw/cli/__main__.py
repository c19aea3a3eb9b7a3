"""``python -m hw.cli``: `sigmaquant` where it is not installed."""

from hw.cli.console import main

main()
