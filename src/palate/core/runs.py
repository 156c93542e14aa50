"""The run folder: a stage's configuration, metrics and results, and what it needs to go on where it stopped.

config.yaml     stage, version, configuration and digests of inputs
metrics.jsonl   one line a step
timings.json    seconds of each timed part
summary.json    there once the run is finished
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate import __version__
from palate.core.config import to_mapping
from palate.core.errors import ConfigError, RunFolderError
from palate.core.files import PARTIAL, explain_os_errors, write_atomic
from palate.core.json_files import to_json, write_json
from palate.core.strict_yaml import read_yaml, write_yaml
from palate.core.values import plain, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ABSENT = "(absent)"


@dataclass(frozen=True)
class RunFolder:
    """A folder that belongs to one stage with one configuration.

    Attributes:
        path: of the folder.
        writes: whether this process writes to the folder; of several processes that work on one run, one does, and the
            others write no logs, timings or summary.
    """

    path: Path
    writes: bool = True

    @classmethod
    def open(
        cls,
        path: Path | str,
        stage: str,
        config: DataclassInstance,
        *,
        free: Collection[str] = (),
        inputs: Mapping[str, str] | None = None,
        writes: bool = True,
    ) -> RunFolder:
        """Makes the folder, or goes on with one of the same stage, configuration and inputs.

        Paths of the configuration are stored as absolute paths, so that they mean the same in any working directory;
        `out` and the free fields are stored as they were given.

        Args:
            stage: what the run does, such as `"align dpo"`.
            free: fields that change no result (device, batch sizes, `out` itself) and so may differ on resuming.
            inputs: digests of what the configuration only names, such as a model, which may change under the same name.
            writes: of several processes, whether this is the one that writes; it must open the folder before the
                others do.

        Raises:
            RunFolderError: the folder belongs to another run (the message has each differing key and both values), or
                is not a run folder.
        """
        path = Path(path)
        if not writes:
            if not (path / "config.yaml").is_file():
                fix = "put it on a disk that all nodes share"
                raise RunFolderError(f"the run folder '{path}' is not on the disk of this node; {fix}")
            return cls(path, writes=False)
        placed = {name: _absolute(value) for name, value in _paths(config).items() if name not in {*free, "out"}}
        wanted = {"stage": stage, "palate": __version__, **to_mapping(config), **placed}
        wanted |= {"inputs": dict(inputs)} if inputs else {}
        stored = read_config(path)
        if stored is None:
            stored = _made_meanwhile(path)
        if stored is not None:
            before = {name: _absolute(value) if name in placed else value for name, value in stored.items()}
            _require_same(path, before, wanted, {*free, "palate"})
        if stored != wanted:
            write_atomic(path / "config.yaml", write_yaml(wanted))
        folder = cls(path)
        folder.rewind(math.inf)
        return folder

    def log(self, step: int, **metrics: Any) -> None:
        """Appends one line to metrics.jsonl: numbers, text, or one-element tensors; nan and infinity become null."""
        if not self.writes:
            return
        record = {"step": step} | {name: _json_value(value) for name, value in metrics.items()}
        line = to_json(record, str(self._metrics))
        with explain_os_errors(f"write {self._metrics}"), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The logged lines, oldest first.

        Raises:
            RunFolderError: a line is damaged; an incomplete last line is ignored.
        """
        if not self._metrics.is_file():
            return []
        *lines, _half_written = self._metrics.read_bytes().split(b"\n")
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(_logged(json.loads(line)))
            except (ValueError, RecursionError) as error:
                where = f"{self._metrics}, line {number}"
                raise RunFolderError(f"{where} is damaged: {line[:80]!r}; delete the line and run again") from error
        return records

    def rewind(self, step: float) -> None:
        """Removes the lines after `step`, and an incomplete last line, before a run resumes from its checkpoint."""
        if self.writes and self._metrics.is_file():
            kept = [record for record in self.metrics() if record["step"] <= step]
            text = "".join(to_json(record, str(self._metrics)) + "\n" for record in kept)
            if text.encode() != self._metrics.read_bytes():
                write_atomic(self._metrics, text)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json, which marks the run as finished."""
        if self.writes:
            write_json(self.path / "summary.json", summary)

    @property
    def finished(self) -> dict[str, Any] | None:
        """The summary of a finished run, else None."""
        return _read_json(self.path / "summary.json")

    def reopen(self) -> None:
        """Deletes the summary, so that the run no longer counts as finished, before a part of it is made again."""
        if self.writes:
            (self.path / "summary.json").unlink(missing_ok=True)

    def abandon(self) -> None:
        """Deletes the files that opening wrote, and the folder if it is empty then, because the run failed early.

        The same folder can then be used by the corrected command, even with another configuration.
        """
        for name in ("config.yaml", "timings.json"):
            (self.path / name).unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    @contextmanager
    def timer(self, name: str) -> Iterator[None]:
        """Adds the seconds spent in the block to `name` in timings.json, also when the block fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if self.writes:
                timings = self.timings
                timings[name] = round(timings.get(name, 0.0) + time.perf_counter() - start, 3)
                write_json(self.path / "timings.json", timings)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by name, summed over all processes that worked on the run."""
        return _read_json(self.path / "timings.json") or {}

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"


def read_config(path: Path | str) -> dict[str, Any] | None:
    """The contents of a run folder's config.yaml, with `stage` and `palate` (the version); None if there is no file.

    Raises:
        RunFolderError: the file exists and is not from a run folder.
    """
    file = Path(path) / "config.yaml"
    if not file.is_file():
        return None
    try:
        config = read_yaml(file)
    except ConfigError as error:
        raise RunFolderError(f"{error}; name another folder, or delete this one") from error
    if missing := [key for key in ("stage", "palate") if key not in config]:
        raise RunFolderError(f"{file} has no '{missing[0]}', so it is not from a run folder; name another folder")
    return config


def _made_meanwhile(path: Path) -> dict[str, Any] | None:
    """The configuration that another process of the run wrote in the meantime; None for an empty folder."""
    try:
        _require_empty(path)
    except RunFolderError:
        if stored := read_config(path):
            return stored
        raise
    return None


def _paths(config: DataclassInstance) -> dict[str, Any]:
    """The fields that hold a path or several, in plain types."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.init}
    every = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    return {name: plain(values[name]) for name, found in every.items() if any(isinstance(each, Path) for each in found)}


def _absolute(value: Any) -> Any:
    """A path, or each path of a list, as an absolute path."""
    if isinstance(value, list):
        return [_absolute(each) for each in value]
    return os.path.normpath(Path(value).absolute()) if isinstance(value, str) else value


def _require_empty(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"'{path}' is a file; name a folder for the run")
    if not path.exists():
        return
    if found := sorted(each.name for each in path.iterdir() if not each.name.endswith(PARTIAL)):
        raise RunFolderError(f"'{path}' is not a run folder, and it is not empty ({found[0]}, ...); name a new folder")


def _require_same(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any], free: Collection[str]) -> None:
    before, now = dict(_flatten(stored)), dict(_flatten(wanted))
    lines = [
        f"  {key}: {_text(before.get(key, _ABSENT))} there, {_text(now.get(key, _ABSENT))} now"
        for key in [*before, *(key for key in now if key not in before)]
        if before.get(key, _ABSENT) != now.get(key, _ABSENT) and key not in free and key.split(".")[0] not in free
    ]
    if lines:
        fix = "name another folder, delete this one, or give the same configuration to go on with it"
        raise RunFolderError("\n".join([f"'{path}' holds another run; {fix}:", *lines]))


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _json_value(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _logged(line: Any) -> dict[str, Any]:
    """A line of metrics; ValueError where it is not an object or has no step."""
    if not isinstance(line, dict) or not isinstance(line.get("step"), (int, float)):
        raise ValueError
    return line


def _read_json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds {shown(content)}, not a JSON object")
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{file} is damaged: {error}; delete it and run again") from error
    return content
