"""A dataclass as command-line flags, and its help page.

This is not argparse, which stops at the first mistake, takes `-1e-4` for a flag, and formats its help differently in
every version of Python; here all mistakes are collected, and docs/cli.md is made from the same help text.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from palate.core.errors import nearest
from palate.core.values import boolean, describe, plain, repeated

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


WIDTH = 80  # columns of a help page on any terminal, so that its text is always the same


class Problem(NamedTuple):
    """A problem of one key or flag; `where` is empty for a problem of the whole configuration."""

    where: str
    message: str


class Flag(NamedTuple):
    """One field, or one field of a nested dataclass, as a flag; `key` has the names joined by dots."""

    key: str
    kind: Any
    default: Any  # dataclasses.MISSING where the field is required
    help: str


_CONFIG = Flag("config", Path | None, None, "YAML file with any of the fields below; flags win over it.")


def flag_of(key: str) -> str:
    """The flag of a field: `--optimizer.learning-rate` of `optimizer.learning_rate`."""
    return "--" + key.replace("_", "-") if key else ""


@cache
def flags(cls: type[DataclassInstance]) -> dict[str, Flag]:
    """The flags of a dataclass by name: `--config`, then required fields, then the other fields in their order.

    The names of fields of nested dataclasses are joined by dots.
    """
    fields = sorted(_flags_of(cls), key=lambda flag: flag.default is not dataclasses.MISSING)
    return {flag_of(flag.key): flag for flag in (_CONFIG, *fields)}


def _flags_of(cls: type[DataclassInstance], prefix: str = "") -> Iterator[Flag]:
    kinds, docs = get_type_hints(cls), field_docstrings(cls)
    for field in dataclasses.fields(cls):
        key, kind = f"{prefix}{field.name}", kinds[field.name]
        if dataclasses.is_dataclass(kind):
            yield from _flags_of(kind, f"{key}.")  # pyright: ignore[reportArgumentType]
        elif field.init:
            made = field.default_factory is not dataclasses.MISSING
            default = field.default_factory() if made else field.default  # pyright: ignore[reportCallIssue]
            yield Flag(key, kind, default, docs.get(field.name, ""))


def field_docstrings(cls: type) -> dict[str, str]:
    """The string literal under each field of a class and of its bases, whitespace folded."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # pyright: ignore[reportAttributeAccessIssue]
        except (OSError, TypeError):  # a class without a source file, such as one made in an interpreter
            continue
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(doc))):
                    found[name] = " ".join(doc.split())
    return found


def read_flags(cls: type[DataclassInstance], argv: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """The given values, as nested mappings of text, and the problems of the flags themselves.

    A flag's values are all words up to the next word that starts with `--`; a value that starts with `--` must be
    written as `--flag=value`.
    """
    known, given, problems = flags(cls), {}, []
    if argv and not argv[0].startswith("--"):
        problems.append(Problem(argv[0], "is not a flag; flags start with '--', and every value follows its flag"))
    for name, values in _by_flag(argv):
        positive = name.replace("--no-", "--", 1)
        negated = name not in known and positive in known and boolean(known[positive].kind)
        flag = known.get(positive if negated else name)
        if flag is None:
            problems.append(Problem(name, f"unknown flag{nearest(name, known)}"))
        elif repeated(flag.kind):
            _put(given, flag.key, values)
        elif values if negated else len(values) != 1 - (boolean(flag.kind) and not values):
            problems.append(
                Problem(name, f"takes {'no' if negated else 'one'} value, got {' '.join(values) or 'none'}")
            )
        else:
            _put(given, flag.key, values[0] if values else str(not negated))
    return given, problems


def _by_flag(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    starts = [at for at, word in enumerate(words) if word.startswith("--")]
    for start, end in zip(starts, [*starts[1:], len(words)]):
        name, equals, value = words[start].partition("=")
        yield name, [value] * bool(equals) + list(words[start + 1 : end])


def _put(nested: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        nested = nested.setdefault(name, {})
    nested[last] = [*nested[last], *value] if isinstance(value, list) and last in nested else value


def show_help(cls: type[DataclassInstance], prog: str, description: str) -> None:
    """Prints the help page: usage, description, and every flag with its help, its type and its default."""
    required = [f"{name} ..." for name, flag in flags(cls).items() if flag.default is dataclasses.MISSING]
    print(textwrap.fill(" ".join(["usage:", prog, *required, "[flags]"]), WIDTH, subsequent_indent="    "))
    print("\n" + textwrap.fill(description, WIDTH) + "\n")
    for name, flag in flags(cls).items():
        print(f"  {name}{', --no-' + name[2:] if boolean(flag.kind) else ''}")
        print(textwrap.fill(_help_of(flag), WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6))


def _help_of(flag: Flag) -> str:
    default = "required" if flag.default is dataclasses.MISSING else f"default: {_shown(plain(flag.default))}"
    return f"{flag.help} ({describe(flag.kind)}; {default})".lstrip()


def _shown(default: Any) -> str:
    if isinstance(default, list):
        return " ".join(map(_shown, default)) or "empty"
    return str(default).lower() if default is None or isinstance(default, bool) else str(default) or "empty"
