"""Conversion of one value from YAML or a command line to the type of a configuration's field, and back.

Text is converted if it can be read as the declared type (`"1e-4"` is text in YAML 1.1, although it is meant as a
number); nothing else is converted, so `steps: 2.5` or `name: 007` is an error.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, Union, get_args, get_origin

from palate.core.errors import nearest


class _Shown(Repr):
    maxstring = 80

    def repr_int(self, x: int, level: int) -> str:
        """The number, unless it is so long that Python refuses to write it."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"a whole number of {x.bit_length()} bits"


_SHOWN = _Shown()
_TRUE, _FALSE, _NONE = {"true", "yes", "on"}, {"false", "no", "off"}, {"none", "null", "~"}


def convert(kind: Any, value: Any) -> Any:
    """`value` converted to `kind`: int, float, bool, str, Path, Literal, Optional, a union, tuple or list of these.

    Raises:
        ValueError: that is not possible; the message says what was expected and what was seen.
        TypeError: `kind` is none of the above (a mistake in the configuration class).
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, value)
    if origin is Literal:
        return _convert_literal(kind, value)
    if origin in (tuple, list):
        return _convert_sequence(kind, value)
    if kind not in _CONVERTERS:
        raise TypeError(f"a configuration field cannot be a {kind!r}")
    try:
        return _CONVERTERS[kind](value)
    except (ValueError, TypeError, OverflowError):
        raise _refusal(kind, value) from None


def describe(kind: Any) -> str:
    """A description of a `kind`, such as `a number` or `one of 'lora', 'full'`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(each) for each in arguments)
    if origin is Literal:
        return "one of " + ", ".join(repr(each) for each in arguments)
    if origin in (tuple, list):
        count = len(arguments) if origin is tuple and ... not in arguments else None
        return f"a list of {count} values" if count else f"a list, each {describe(arguments[0])}"
    return _WORDS[kind]


def plain(value: Any) -> Any:
    """The value in the types of YAML and JSON: paths as text, tuples as lists, dataclasses as mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def shown(value: Any) -> str:
    """The value for an error message, shortened where it is long."""
    return _SHOWN.repr(value)


def optional(kind: Any) -> bool:
    """Whether None is a value of this kind."""
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def repeated(kind: Any) -> bool:
    """Whether a value of this kind is a list, so that a flag may take several."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return any(get_origin(each) in (tuple, list) for each in members)


def boolean(kind: Any) -> bool:
    """Whether the kind is true or false, so that a flag needs no value."""
    return kind is bool or (optional(kind) and bool in get_args(kind))


def _refusal(kind: Any, value: Any, hint: str = "") -> ValueError:
    unquoted = describe(kind).startswith("text") and not isinstance(value, (str, list, tuple, dict))
    return ValueError(f"expected {describe(kind)}, got {shown(value)}{'; put it in quotes' * unquoted}{hint}")


def _convert_union(kind: Any, value: Any) -> Any:
    for member in sorted(get_args(kind), key=lambda member: member is not type(None)):  # "none" is None before text
        try:
            return convert(member, value)
        except ValueError:
            continue
    raise _refusal(kind, value)


def _convert_literal(kind: Any, value: Any) -> Any:
    options = get_args(kind)
    for option in options:
        if (type(value), value) == (type(option), option) or value == str(option):
            return option
    raise _refusal(kind, value, nearest(value, map(str, options)) if isinstance(value, str) else "")


def _convert_sequence(kind: Any, value: Any) -> Any:
    origin, arguments = typing.cast(type, get_origin(kind)), get_args(kind)
    if not isinstance(value, (list, tuple)):
        raise _refusal(kind, value)
    if origin is tuple and ... not in arguments:
        if len(value) != len(arguments):
            raise _refusal(kind, value)
        return tuple(convert(each, item) for each, item in zip(arguments, value))
    return origin(convert(arguments[0], item) for item in value)


def _integer(value: Any) -> int:
    if isinstance(value, (bool, float)):
        raise ValueError
    return int(value)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def _path(value: Any) -> Path:
    if not str(value).strip() or "\0" in str(value):
        raise ValueError
    return Path(value).expanduser()


def _nothing(value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value.lower() in _NONE):
        raise ValueError


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    int: _integer,
    float: _finite,
    bool: _truth,
    str: _text,
    Path: _path,
    type(None): _nothing,
}
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "none",
}
