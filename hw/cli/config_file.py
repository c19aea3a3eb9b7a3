"""Configuration files: YAML read and checked against a command's keys, and written again."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hw.cli.commands import typed
from hw.cli.keys import COMMAND_LINE_ONLY, Key, model_of, values_of
from hw.files import write_text

COMMAND = "command"
"""Key that names the command, so that no other one takes the file for its own."""
CLOSE, VERY_CLOSE = 0.5, 0.8
"""Least likeness, from 0 to 1, of a known key that is offered for one that no command has, and of
one that is taken for what was meant."""
PER_LINE = 100


class ConfigError(ValueError):
    """A configuration file cannot be worked with: one line with the file, the key, and the rule."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Plain values only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            text = str(name.value)
            if text in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{text} is there twice", problem_mark=name.start_mark
                )
            seen.add(text)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def read_config(
    path: Path,
    *,
    command: str,
    keys: tuple[Key, ...],
    owners: Callable[[str], list[str]] = lambda _: [],
) -> Mapping[str, Any]:
    """Read a configuration file.

    Parameters
    ----------
    path : Path
    command : str
        The command whose configuration it must be, such as ``search``.
    keys : tuple of Key
        Those of the command.
    owners : callable
        Names the other commands that have a key; asked about unknown ones only.

    Returns
    -------
    mapping
        What is in the file, by parameter of the command.

    Raises
    ------
    ConfigError
        If the file is missing, no YAML, no mapping, or has an unknown key or a value that its key
        cannot have.
    """
    document = _load(path)
    known = {key.name: key for key in keys}
    given: dict[str, Any] = {}
    for written, value in document.items():
        name = str(written).replace("_", "-")
        if name == COMMAND and COMMAND not in known:
            _check_command(path, value, command)
            continue
        if name in given:
            raise ConfigError(f"{path}: {name} must be there once, not as {written}, too")
        if name not in known:
            raise ConfigError(f"{path}: {_unknown(str(written), name, known, command, owners)}")
        if value is None and known[name].optional:
            continue
        given[name] = value
    try:
        return values_of(model_of(keys).model_validate(given))
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        name, value = str(place[0]), given[str(place[0])]
        if len(place) > 1 and isinstance(value, list) and isinstance(place[1], int):
            value = value[place[1]]
        raise ConfigError(
            f"{path}: {name} must be {known[name].rule}, not {_shown(value)}"
        ) from None


def write_config(
    path: Path, *, command: str, values: Mapping[str, Any], implied: Mapping[str, Any] | None = None
) -> None:
    """Write a configuration that `read_config` reads.

    Parameters
    ----------
    path : Path
    command : str
        Such as ``search``.
    values : mapping
        By key or by parameter; None, what was not given, is left out. Paths below the current
        folder are written from there.
    implied : mapping, optional
        What follows from what was not given: a comment, so that other options can go with the file.
    """
    text = _dumped({COMMAND: command, **values})
    if implied:
        lines = _dumped(implied).splitlines(keepends=True)
        text += "# It follows:\n" + "".join(f"# {line}" for line in lines)
    head = f"# What {typed(command)} ran with; again: {typed(command)} --config {path.name}\n"
    write_text(path, head + text)


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"{path}: config must be readable, not: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: config must be UTF-8 text, not: {error.reason}") from error
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_error(path, error)) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: config must be lines of `key: value`, not {_shown(document)}; see --help"
        )
    return document


def _yaml_error(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}, line {mark.line + 1}" if mark is not None else f"{path}"
    what = getattr(error, "problem", None) or str(error)
    hint = "; indent with spaces" if "'\\t'" in what else ""
    return f"{where}: config must be YAML, not: {' '.join(what.split())}{hint}"


def _check_command(path: Path, value: Any, command: str) -> None:
    if value != command:
        raise ConfigError(
            f"{path}: {COMMAND} must be {command}, not {_shown(value)}, whose file this is"
        )


def _unknown(
    written: str,
    name: str,
    known: Mapping[str, Key],
    command: str,
    owners: Callable[[str], list[str]],
) -> str:
    rule = f"keys must be those of {command}, not {written}"
    if name in COMMAND_LINE_ONLY:
        return f"keys must be those of {command}, not {written}, which is for the command line only"
    near = difflib.get_close_matches(name, known, n=1, cutoff=VERY_CLOSE)
    if near:  # asking the other commands takes seconds, since it imports them
        return f"{rule}; the nearest is {near[0]}"
    others = [owner for owner in owners(name) if owner != command]
    if others:
        return f"{rule}, which is one of {', '.join(others)}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)
    return f"{rule}; the nearest is {near[0]}" if near else f"{rule}; known: {', '.join(known)}"


def _shown(value: Any) -> str:
    """Return a value as a file has it, or in a word what it is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        here = Path.cwd()
        return str(value.relative_to(here) if value.is_relative_to(here) else value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _dumped(values: Mapping[str, Any]) -> str:
    plain = {n.replace("_", "-"): _plain(value) for n, value in values.items() if value is not None}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=PER_LINE)
    return text
