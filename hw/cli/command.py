"""A function as a command: with `--config`, `--quiet` and `--json` beside its own options."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hw.cli.commands import owners
from hw.cli.config_file import ConfigError, read_config, write_config
from hw.cli.keys import AS_JSON, CONFIG_FILE, QUIET, Key, keys_of
from hw.cli.output import BAD_INPUT, STOPPED, Mode, shown
from hw.cli.usage import UsageError, complain_of_usage

CONFIG_NAME = "config.yaml"
SHARED_PANEL = "Configuration and output"
HARDWARE = "hardware"
"""Key of a named configuration of the hardware."""
SUFFIXES = (".yaml", ".yml")
SUBJECT = re.compile(r"(?:[\w.]+: )?([\w-]+) must ")

Place = Callable[[Mapping[str, Any]], Path | None]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The configuration file of the command that runs."""

    path: Path
    keys: frozenset[str]


_source: ContextVar[_Source | None] = ContextVar("_source", default=None)


class _Command(TyperCommand):
    """A command whose usage errors are one line."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Parse arguments."""
        try:
            return super().make_context(info_name, args, parent=parent, **extra)
        except UsageError as error:
            complain_of_usage(error, info_name)
            raise typer.Exit(BAD_INPUT) from None


def beside(output: str) -> Place:
    """Return where the configuration goes that wrote a file: ``x.config.yaml`` beside ``x.json``.

    Parameters
    ----------
    output : str
        Parameter that is the file; without one, no configuration is written.
    """

    def place(given: Mapping[str, Any]) -> Path | None:
        path = given[output]
        return None if path is None else Path(path).with_suffix(f".{CONFIG_NAME}")

    return place


def inside(folder: str, name: str = CONFIG_NAME) -> Place:
    """Return where the configuration goes that wrote a folder, which a parameter names."""
    return lambda given: None if given[folder] is None else Path(given[folder]) / name


def command_app(
    main: Callable[..., None],
    *,
    name: str,
    place: Place | None = None,
    tells: bool = False,
    examples: tuple[str, ...] = (),
) -> typer.Typer:
    """Make a command of a function.

    Parameters
    ----------
    main : callable
        Its parameters are annotated as typer wants them.
    name : str
        As behind ``sigmaquant``; what a configuration file has as its ``command``.
    place : callable, optional
        Where the effective configuration is written when the command is done, whatever its
        verdict; a command without one writes it by itself, with `write_config`.
    tells : bool
        Whether it calls `tell`; it then has ``--json``.
    examples : tuple of str
        Lines of ``--help``.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    epilog = "\n\n".join(("Examples:", *examples)) if examples else None
    app.command(cls=_Command, epilog=epilog)(_wrapped(main, name=name, place=place, tells=tells))
    return app


def complain(text: str) -> None:
    """Print an error as one line on stderr, headed by the configuration file it is in."""
    line, source = " ".join(text.split()), _source.get()
    subject = SUBJECT.match(line)
    if source is not None and subject and subject[1].replace("_", "-") in source.keys:
        line = f"{source.path}: {line}"
    print(line, file=sys.stderr)


def given_options(context: typer.Context, *, but: str) -> list[str]:
    """Return the options of the command line except one, and ``--config`` if a file gave any."""
    found = set()
    for name in context.params:
        source = context.get_parameter_source(name)  # by name: typer may bring its own click
        if name != but and source is not None and source.name == "COMMANDLINE":
            found.add("--" + name.replace("_", "-"))
        elif source is not None and source.name == "DEFAULT_MAP":
            found.add("--config")
    return sorted(found)


def _wrapped(
    main: Callable[..., None], *, name: str, place: Place | None, tells: bool
) -> Callable[..., None]:
    """Give a function the shared options, and do around it what they ask for."""
    keys = keys_of(main)
    own = inspect.signature(main, eval_str=True).parameters
    context_names = [n for n, p in own.items() if p.annotation is typer.Context] or ["context"]

    @functools.wraps(main)
    def run(**values: Any) -> None:
        context = values[context_names[0]]
        if context_names[0] not in own:
            del values[context_names[0]]
        path = values.pop(CONFIG_FILE)
        quiet, as_json = values.pop(QUIET), values.pop(AS_JSON, False)
        mode = Mode.JSON if as_json else Mode.QUIET if quiet else Mode.ALL
        for shared in (CONFIG_FILE, QUIET, AS_JSON):
            context.params.pop(shared, None)
        token = _source.set(_source_of(context, path, keys))
        try:
            with shown(mode):
                status = _status(main, values)
                if place is not None and status not in (BAD_INPUT, STOPPED):
                    _write(place, name, keys, values)
                if status:
                    raise typer.Exit(status)
        finally:
            _source.reset(token)

    parameters = {n: p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for n, p in own.items()}
    if context_names[0] not in own:
        parameters[context_names[0]] = _parameter(context_names[0], typer.Context)
    for parameter in _shared(name, keys, tells=tells):
        parameters[parameter.name] = parameter
    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {n: p.annotation for n, p in parameters.items()}
    return run


def _shared(name: str, keys: tuple[Key, ...], *, tells: bool) -> list[inspect.Parameter]:
    """Return the parameters of the options that all commands have."""

    def load(context: typer.Context, value: Path | None) -> Path | None:
        if value is None or context.resilient_parsing:
            return value
        if HARDWARE in {key.name for key in keys} and value.suffix not in SUFFIXES:
            # as it was before there were files: --config edge
            parameter = next(key.parameter for key in keys if key.name == HARDWARE)
            context.default_map = {parameter: str(value)}
            return None
        try:
            found = read_config(value, command=name, keys=keys, owners=owners)
        except ConfigError as error:
            complain(str(error))
            raise typer.Exit(BAD_INPUT) from None
        context.default_map = dict(found)
        return value

    config = typer.Option(
        "--config",
        metavar="FILE.yaml",
        help="Options from a file, by name; those of the command line win.",
        callback=load,
        is_eager=True,
        rich_help_panel=SHARED_PANEL,
    )
    quiet = typer.Option(
        "--quiet", "-q", help="Show the last line only, or the error.", rich_help_panel=SHARED_PANEL
    )
    as_json = typer.Option(
        "--json",
        help="Write the result to stdout as one JSON document, and nothing else there.",
        rich_help_panel=SHARED_PANEL,
    )
    found = [
        _parameter(CONFIG_FILE, Annotated[Path | None, config], None),
        _parameter(QUIET, Annotated[bool, quiet], False),
    ]
    return [*found, _parameter(AS_JSON, Annotated[bool, as_json], False)] if tells else found


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _source_of(context: typer.Context, path: Path | None, keys: tuple[Key, ...]) -> _Source | None:
    if path is None:
        return None
    found = set()
    for key in keys:
        source = context.get_parameter_source(key.parameter)
        if source is not None and source.name == "DEFAULT_MAP":
            found |= {key.name, key.parameter.replace("_", "-")}
    return _Source(path=path, keys=frozenset(found))


def _status(main: Callable[..., None], values: Mapping[str, Any]) -> int:
    try:
        main(**values)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def _write(place: Place, name: str, keys: tuple[Key, ...], values: Mapping[str, Any]) -> None:
    path = place(values)
    if path is not None:
        effective = {key.name: values[key.parameter] for key in keys}
        write_config(path, command=name, values=effective)
