"""Keys of a command's configuration file, read off the signature that typer reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt
from pydantic import create_model as create
from typer.models import ArgumentInfo, OptionInfo

CONFIG_FILE, QUIET, AS_JSON = "config_file", "quiet", "as_json"
"""Parameters of the options that all commands have."""
COMMAND_LINE_ONLY = frozenset({CONFIG_FILE, QUIET, AS_JSON, "json", "resume"})
"""Of the run and its output, not of what is computed."""
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """An option or argument of a command, as a key of its configuration file.

    Parameters
    ----------
    name : str
        The key: the long option without its hyphens in front.
    parameter : str
        The parameter of the command's function.
    kind : type
        Of a value; of one of a list's values, if `several`.
    several : bool
        Whether it takes a list; one value alone will do, too.
    optional : bool
        Whether null stands for what is not given.
    least, most : float, optional
        Bounds of a number, both included.
    """

    name: str
    parameter: str
    kind: type
    several: bool
    optional: bool
    least: float | None
    most: float | None

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        if issubclass(self.kind, Enum):
            rule = f"one of {', '.join(str(one.value) for one in self.kind)}"
        else:
            rule = KINDS[self.kind]
        bounds = [(self.least, "at least"), (self.most, "at most")]
        limits = [f"{words} {bound:g}" for bound, words in bounds if bound is not None]
        rule += " of " + " and ".join(limits) if limits else ""
        return f"{rule}, or a list of such" if self.several else rule

    @property
    def checked(self) -> Any:
        """The type that pydantic holds a value to."""
        bounds = Field(ge=self.least, le=self.most)
        one: Any = self.kind
        if self.kind is bool:
            one = StrictBool
        elif self.kind is int:
            one = Annotated[StrictInt, bounds]
        elif self.kind is float:  # 1e-3 is text to YAML 1.1, so text of a number will do
            one = Annotated[float, BeforeValidator(_no_bool), bounds]
        elif self.kind is str:  # 0.4 is a number to YAML, and text of a limit to a command
            one = Annotated[str, Field(coerce_numbers_to_str=True)]
        return Annotated[list[one], BeforeValidator(_listed)] if self.several else one


def keys_of(function: Callable[..., Any]) -> tuple[Key, ...]:
    """Return the keys of a command, in the order of its options."""
    found = []
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        about = _about(parameter.annotation)
        if about is None or name in COMMAND_LINE_ONLY:
            continue
        kinds = get_args(parameter.annotation)[:1]
        optional = NoneType in get_args(kinds[0])
        kind = next(k for k in (get_args(kinds[0]) if optional else kinds) if k is not NoneType)
        several = get_origin(kind) is list
        found.append(
            Key(
                name=_key(name, about),
                parameter=name,
                kind=get_args(kind)[0] if several else kind,
                several=several,
                optional=optional,
                least=about.min,
                most=about.max,
            )
        )
    return tuple(found)


def model_of(keys: tuple[Key, ...]) -> type[BaseModel]:
    """Return the pydantic model of a configuration file with these keys, all of them optional."""
    fields: dict[str, Any] = {  # `value_`, since pydantic has names of its own, such as `json`
        f"value_{key.parameter}": (key.checked, Field(default=None, alias=key.name)) for key in keys
    }
    made: type[BaseModel] = create("Configuration", __config__=ConfigDict(extra="forbid"), **fields)
    return made


def values_of(model: BaseModel) -> Mapping[str, Any]:
    """Return what was given, by parameter, as the command line would have it."""
    given = model.model_dump(mode="json", exclude_unset=True)
    return {name.removeprefix("value_"): value for name, value in given.items()}


def _about(annotation: Any) -> OptionInfo | ArgumentInfo | None:
    kinds = (OptionInfo, ArgumentInfo)
    return next((a for a in get_args(annotation)[1:] if isinstance(a, kinds)), None)


def _key(name: str, about: OptionInfo | ArgumentInfo) -> str:
    """Return the long option as declared; typer keeps the first in `default` within Annotated."""
    declared = [about.default, *(about.param_decls or ())]
    long = [text for text in declared if isinstance(text, str) and text.startswith("--")]
    return long[0].removeprefix("--") if long else name.replace("_", "-")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("no truth value")
    return value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]
