"""``sigmaquant``: all commands as one, none of them imported before it is asked for."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from hw.cli.commands import ENTRIES, Entry
from hw.cli.output import BAD_INPUT
from hw.cli.usage import UsageError, complain_of_usage

NAME = "sigmaquant"
EXAMPLES = (
    "sigmaquant search --model resnet8 --max-size 40% --out runs/mine",
    "sigmaquant report runs/mine",
    "sigmaquant export runs/mine --format onnx --out net",
    "sigmaquant search --config runs/mine/config.yaml --seed 1 --quiet",
)
BENCH_HELP = "Benchmarks: hours on all cores, except with options that say less."


class _Lazy(TyperCommand):
    """Stands for a command in lists; imports it when it is called or completed."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name.split()[-1], help=entry.help)
        self._entry = entry

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Go on with the real command."""
        try:
            command = get_command(self._entry.app())
        except ImportError as error:
            print(
                f"{NAME} {self._entry.name}: packages must be installed, but: {error}; "
                "see the extras in pyproject.toml",
                file=sys.stderr,
            )
            raise typer.Exit(BAD_INPUT) from None
        if not extra.get("resilient_parsing"):
            # files tell the command that made them, as `python -m`: what is behind the name counts
            sys.argv = [f"{NAME} {self._entry.name}", *args]
        return command.make_context(info_name, args, parent=parent, **extra)


class _Group(TyperGroup):
    """A group whose usage errors are one line."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Parse what stands before the command; without arguments, the help is shown."""
        bare = not args  # parsing takes them away
        try:
            return super().make_context(info_name, args, parent=parent, **extra)
        except UsageError as error:
            if bare:
                raise
            complain_of_usage(error, info_name)
            raise typer.Exit(BAD_INPUT) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is asked for."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            complain_of_usage(error)
            raise typer.Exit(BAD_INPUT) from None


def _version(asked: bool) -> None:
    if asked:
        print(f"{NAME} {metadata.version(NAME)}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Bits for every layer of a network, on the costs of your own shift-add array.

    Every command has --help, and takes its options from a file with --config FILE.yaml.
    """


def _bench() -> None: ...


def _group(callback: Any, *, epilog: str | None = None, completion: bool = False) -> TyperGroup:
    app = typer.Typer(
        cls=_Group,
        add_completion=completion,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(epilog=epilog, no_args_is_help=True)(callback)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def command() -> TyperGroup:
    """Return the console command."""
    root = _group(_root, epilog="\n\n".join(("Examples:", *EXAMPLES)), completion=True)
    bench = _group(_bench)
    bench.name, bench.help = "bench", BENCH_HELP
    for entry in ENTRIES:
        (bench if entry.name.startswith("bench ") else root).add_command(_Lazy(entry))
    root.add_command(bench)
    return root


def main() -> None:
    """Run `sigmaquant`."""
    command()(prog_name=NAME)


if __name__ == "__main__":
    main()
