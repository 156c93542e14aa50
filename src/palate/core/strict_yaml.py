"""Strict YAML: the document must be a mapping without repeated keys; every error names the file and the line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from palate.core.errors import ConfigError
from palate.core.files import explain_os_errors


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; a repeated key is an error here, while PyYAML would keep its last value."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):  # other keys are refused below
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} occurs twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: the file has another content; the message names the line of the error.
    """
    with explain_os_errors(f"read {path}"):
        data = path.read_bytes()
    try:
        content = yaml.load(data.decode("utf-8-sig"), _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: {error.problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not YAML: it is nested too deep") from error
    except Exception as error:  # a date such as 2001-99-99 is a ValueError to PyYAML, `!!bool x` a KeyError
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path} holds {type(content).__name__}, not a mapping; write lines such as 'seed: 0'")
    return content or {}


def write_yaml(mapping: dict[str, Any]) -> str:
    """The mapping as YAML text, keys in the given order."""
    return yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True)
