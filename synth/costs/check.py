"""What a breach of the schema says: the place, what must hold, what was found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

LONGEST_VALUE = 40


def first_breach(error: ValidationError) -> str:
    """Return the first error of a failed check as one line: ``place: rule, not value``."""
    first = error.errors()[0]
    # members of a union stand in the place as "<member>"
    place = [str(part) for part in first["loc"] if not str(part).startswith("<")]
    return f"{'.'.join(place) or 'file'}: {_rule(first)}"


def _rule(first: Mapping[str, Any]) -> str:
    message = str(first["msg"])
    match first["type"]:
        case "missing":
            return "must be given"
        case "extra_forbidden":
            return "is no known field"
        case "json_invalid":
            return message
        case "value_error":  # ours, and says what was found
            return str(first["ctx"]["error"])
        case _:
            rule = re.sub(r"^\w+ should", "must", message)  # "Input should be ..."
            return rule if ", not " in rule else f"{rule}, not {_short(first['input'])}"


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
