"""Loading the user's own code by name: `python:my_module:make_scorer` is `make_scorer` of `my_module`.

The module is searched in the working directory first, then like any other module. Only code that the user names is run.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from palate.core.errors import InputError, PalateError, nearest

PREFIX = "python:"
FORM = f"{PREFIX}<module>:<name>"


def is_user_code(spec: str) -> bool:
    """Whether a spec names the user's own code."""
    return spec.startswith(PREFIX)


def load_user_code(spec: str) -> Any:
    """The object that `python:<module>:<name>` names; a name with dots is looked up part by part.

    Raises:
        InputError: the spec is malformed, there is no such module or name (the message has the nearest), or the module
            raises an error while it is imported.
    """
    module_name, name = _parts(spec)
    module = _import(module_name, spec)
    found: Any = module
    with explain_user_errors(spec):
        for word in name.split("."):
            if not hasattr(found, word):
                where = getattr(module, "__file__", None) or "built in"
                known = [each for each in dir(found) if not each.startswith("_")]
                raise InputError(f"{spec}: {module_name} ({where}) has no {word!r}{nearest(word, known)}")
            found = getattr(found, word)
    return found


def make_user_object(spec: str, *arguments: Any) -> Any:
    """The object that a user's factory returns.

    Args:
        spec: the name of the factory.
        arguments: the arguments of the call; a factory that takes fewer gets only the first ones.

    Raises:
        InputError: as for `load_user_code`; or the object cannot be called, or raises an error.
    """
    factory = load_user_code(spec)
    if not callable(factory):
        raise InputError(f"{spec} is {type(factory).__name__}, and must be a function or class that makes one")
    with explain_user_errors(spec):
        return factory(*arguments[: _places(factory)])


@contextmanager
def explain_user_errors(spec: str) -> Iterator[None]:
    """Turns an error of the user's code into an InputError with its message; PALATE_DEBUG=1 shows the traceback."""
    try:
        yield
    except PalateError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{spec} raised {type(error).__name__}: {error}") from error


def source_digest(spec: str) -> str:
    """A digest of the file of a module that `load_user_code` has loaded, without the modules that it imports."""
    return _file_digest(_parts(spec)[0])


def class_digest(kind: type) -> str:
    """A digest of the file of a class's module, as for `source_digest`."""
    return _file_digest(kind.__module__)


def _file_digest(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    return hashlib.blake2b(Path(file).read_bytes() if file else b"", digest_size=16).hexdigest()


def _parts(spec: str) -> tuple[str, str]:
    module, colon, name = spec.removeprefix(PREFIX).partition(":")
    words = [*module.split("."), *name.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise InputError(f"{spec!r} does not say which code it means; write {FORM}, such as {PREFIX}my_module:make")
    return module, name


def _import(name: str, spec: str) -> ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        with explain_user_errors(spec):
            if _missing(name):
                files = [path.stem for path in Path(here).glob("*.py")]
                raise InputError(f"{spec}: there is no module {name!r} in {here}, nor installed{nearest(name, files)}")
            return importlib.import_module(name)
    finally:
        sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)  # at the end, so that the module's own imports are found and hide no other module


def _missing(name: str) -> bool:
    try:
        return name not in sys.modules and find_spec(name) is None
    except ModuleNotFoundError as error:  # a package above it is missing
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return True
        raise


def _places(factory: Any) -> int | None:
    """How many positional arguments a factory takes; None for any number."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return None
    return sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters)
