"""Configurations are frozen dataclasses; this reads them from YAML and from flags, strictly.

All problems of a configuration are reported together: unknown keys with the nearest name, missing keys, values of the
wrong type, and what the class's own `__post_init__` refuses. A field's docstring is its help:

    @dataclass(frozen=True)
    class ScoreConfig:
        images: Path
        \"\"\"Run folder of `palate generate`.\"\"\"
        batch_size: int = 16
        \"\"\"Images scored at once; changes speed, not scores.\"\"\"

    config = parse(ScoreConfig, argv, prog="palate score", description="Scores images.")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, get_type_hints

from palate.core.errors import ConfigError, PalateError, nearest
from palate.core.files import require_file, write_atomic
from palate.core.flags import Problem, flag_of, read_flags, show_help
from palate.core.strict_yaml import read_yaml, write_yaml
from palate.core.values import convert, plain, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HEADER = ("stage", "palate", "inputs")  # keys that a run folder adds to its config.yaml; not part of a configuration

C = TypeVar("C", bound="DataclassInstance")

_ASK = "--\0"  # in place of flags; nobody can type it, as no argument of a program holds a NUL


class _Asked(BaseException):
    """Ends a command that was asked which configuration it reads; its argument is the class."""


def parse(cls: type[C], argv: Sequence[str], *, prog: str, description: str) -> C:
    """A configuration from flags, and from a YAML file where `--config file.yaml` is given; flags win.

    The flag of the field `batch_size` is `--batch-size`; of a nested one `--optimizer.learning-rate`. A true-or-false
    field also has `--no-...`; a list takes several values. `--help` prints the fields and exits.

    Args:
        cls: a dataclass; its module must not import anything heavy, because `--help` should answer quickly.
        argv: the flags, without the program's name.
        prog: the command as the user typed it, such as `"palate score"`.
        description: one or two sentences for `--help`.

    Raises:
        ConfigError: lists all problems, each by its flag or, for a value from the file, by its key.
    """
    if _ASK in argv:
        raise _Asked(cls)
    if {"--help", "-h"} & set(argv):
        show_help(cls, prog, description)
        raise SystemExit(0)
    given, misused = read_flags(cls, argv)
    path = given.pop("config", None)
    stored = _read(path) if path else {}
    config, refused = _build(cls, _merge(stored, given))
    for key, message in refused:
        in_file = _has(stored, key) and not _has(given, key)
        if in_file or flag_of(key) not in {flag for flag, _ in misused}:
            misused.append(Problem(key if in_file else flag_of(key), message))
    if config is None or misused:
        command = prog.partition(" ")[2] or prog
        _refuse(f"{command}: {path}" if path else command, misused)
    return config


def given_fields(cls: type[DataclassInstance], argv: Sequence[str]) -> frozenset[str]:
    """The names of the fields that flags, or the file of `--config`, give a value; the flags are those of `parse`."""
    given, _ = read_flags(cls, argv)
    path = given.pop("config", None)
    return frozenset(given) | frozenset(_read(path) if path else ())


def configuration_of(command: Callable[[Sequence[str]], Any]) -> type[DataclassInstance] | None:
    """The class that a command, a function of its flags, hands to `parse`; the command itself does not run.

    None where it reads no flags, or cannot before a package is installed.
    """
    try:
        command([_ASK])
    except _Asked as asked:
        return asked.args[0]
    except PalateError:
        pass
    return None


def from_mapping(cls: type[C], mapping: Mapping[str, Any], *, source: str | None = None) -> C:
    """A configuration from plain values, such as `to_mapping` returns.

    Args:
        source: where the mapping comes from, for the error; the class's name by default.

    Raises:
        ConfigError: lists all problems.
    """
    config, problems = _build(cls, mapping)
    if config is None:
        _refuse(source or cls.__name__, problems)
    return config


def to_mapping(config: DataclassInstance) -> dict[str, Any]:
    """The configuration in plain YAML types, in the order of its fields; `from_mapping` is the inverse."""
    return plain(config)


def load(cls: type[C], path: Path | str) -> C:
    """A configuration from a YAML file; a run folder's `config.yaml` is one too.

    Raises:
        InputError: there is no such file.
        ConfigError: the file is not YAML; or lists all its problems.
    """
    return from_mapping(cls, _read(path), source=str(path))


def dump(config: DataclassInstance, path: Path | str) -> None:
    """Writes the configuration as YAML, for `load` or `--config`."""
    write_atomic(path, write_yaml(to_mapping(config)))


def _read(path: Path | str) -> dict[str, Any]:
    mapping = read_yaml(require_file(path, "configuration"))
    return {key: value for key, value in mapping.items() if key not in HEADER}


def _build(cls: type[C], mapping: Mapping[str, Any], prefix: str = "") -> tuple[C | None, list[Problem]]:
    """The instance, or None with the problems."""
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    kinds = get_type_hints(cls)
    values: dict[str, Any] = {}
    problems = [
        Problem(f"{prefix}{key}", f"unknown key{nearest(str(key), fields)}") for key in mapping if key not in fields
    ]
    for name, field in fields.items():
        key = f"{prefix}{name}"
        if name in mapping:
            values[name], found = _value(kinds[name], mapping[name], key)
            problems += found
        elif field.default is field.default_factory is dataclasses.MISSING:
            problems.append(Problem(key, "is required, and not given"))
    if problems:
        return None, problems
    try:
        return cls(**values), []
    except (ValueError, PalateError) as error:
        return None, [Problem(prefix.rstrip("."), str(error))]


def _value(kind: Any, value: Any, key: str) -> tuple[Any, list[Problem]]:
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _build(cast("type[DataclassInstance]", kind), value, f"{key}.")
    try:
        if dataclasses.is_dataclass(kind):
            raise ValueError(f"expected the fields of {key} as a mapping, got {shown(value)}")
        return convert(kind, value), []
    except ValueError as error:
        return None, [Problem(key, str(error))]


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def _has(mapping: Mapping[str, Any], key: str) -> bool:
    value: Any = mapping
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _refuse(source: str, problems: Sequence[Problem]) -> NoReturn:
    lines = [f"{key}: {message}" if key else message for key, message in problems]
    if len(lines) == 1:
        raise ConfigError(f"{source}: {lines[0]}")
    raise ConfigError(f"{source}: {len(lines)} problems\n" + "\n".join(f"  {line}" for line in lines))
