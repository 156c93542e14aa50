"""`report.html` of a run of `palate align`: one file, written again and again while the run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from palate import __version__
from palate.align.config import AlignConfig
from palate.align.curves import run_charts
from palate.align.diagnosis import diagnose
from palate.align.validation.best import describe_best
from palate.align.validation.setup import ValidationInputs
from palate.align.validation.validator import LOG
from palate.core.config import to_mapping
from palate.core.files import write_atomic
from palate.core.progress import note
from palate.core.runs import RunFolder
from palate.records.jsonlines import JsonLines
from palate.report.number_format import UNKNOWN, writer

REPORT, SAMPLES = "report.html", "samples"
SHARE = 0.01
"""The share of a run's time that its report may take."""
REFRESH = 15
"""Seconds after which a browser loads the page of a running training again."""
COLUMNS = 12
"""Validations whose samples are shown: all, or so many, evenly spaced, the first and the last among them."""
State = Literal["running", "stopped", "finished"]


@dataclass(frozen=True)
class Sample:
    """One image of the table of samples."""

    step: int
    uri: str
    width: int
    height: int


@dataclass(eq=False)
class RunReport:
    """The report of one run.

    Attributes:
        run: the run folder, whose metrics and samples are shown.
        config: the configuration of the run.
        method: the name of the method.
        inputs: what the run is validated on.
    """

    run: RunFolder
    config: AlignConfig
    method: str
    inputs: ValidationInputs
    _pictures: dict[Path, Sample] = field(default_factory=dict)
    _written: float = 0.0  # when the report was last written, and the seconds that this took
    _took: float = 0.0
    _begun: tuple[float, int] | None = None

    def write(self, now: bool = True, state: State = "running") -> None:
        """Writes the page; unless it must be `now`, only if that takes no more than `SHARE` of the time."""
        start = time.perf_counter()
        if not self.run.writes or not (now or start - self._written > self._took / SHARE):
            return
        write_atomic(self.run.path / REPORT, self.render(state))
        self._written = time.perf_counter()
        self._took = self._written - start

    @contextmanager
    def live(self) -> Iterator[None]:
        """Writes the page before the block; if an error ends the block, once more as that of a stopped run."""
        self.write()
        try:
            yield
        except BaseException:
            self.write(state="stopped")
            raise

    def summary(self) -> dict[str, Any]:
        """What a finished run's curves look like, its best model and its last validation, for `summary.json`."""
        rows, found = self._rows(), diagnose(self.run.metrics(), self._rows())
        summary: dict[str, Any] = {"diagnosis": asdict(found)}
        if rows:
            summary["validation"] = {**rows[-1], "seconds": round(sum(row["seconds"] for row in rows), 3)}
            summary["best"] = describe_best(rows, self.inputs.criterion)
        return summary

    def end(self) -> None:
        """Writes the page of a finished run, and prints its diagnosis."""
        self.write(state="finished")
        note(f"{diagnose(self.run.metrics(), self._rows()).sentence()} The curves: {self.run.path / REPORT}")

    def render(self, state: State) -> str:
        """The HTML of the page; all inserted text is escaped."""
        from palate.report.page import flatten, template

        lines, rows = self.run.metrics(), self._rows()
        steps, table = _spread(sorted({row["step"] for row in rows if "images" in row}), COLUMNS), _table(rows)
        return template("run.html.jinja", "palate.align").render(
            version=__version__,
            name=self.run.path.resolve().name,
            method=self.method,
            config=self.config,
            state=state,
            refresh=REFRESH if state == "running" else None,
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            done=max((line["step"] for line in lines), default=0),
            left=self._left(lines) if state == "running" else None,
            diagnosis=diagnose(lines, rows),
            best=self._best(rows),
            charts=run_charts(lines, rows),
            steps=steps,
            samples=self._samples(steps),
            validations=table,
            columns=list(dict.fromkeys(name for row in table for name in row["cells"])),
            timings=self.run.timings,
            validating=sum(row["seconds"] for row in rows),
            settings=flatten(to_mapping(self.config)),
        )

    def _left(self, lines: Sequence[Mapping[str, Any]]) -> float | None:
        """The seconds that are left, by the steps that this process has made; None before it has made any."""
        done, now = max((line["step"] for line in lines), default=0), time.perf_counter()
        self._begun = self._begun or (now, done)
        since, first = self._begun
        return (self.config.steps - done) * (now - since) / (done - first) if done > first else None

    def _rows(self) -> list[dict[str, Any]]:
        return JsonLines(self.run.path / LOG).read()

    def _best(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        best = describe_best(rows, self.inputs.criterion)
        if best is None:
            return None
        write = writer([x for x in (best["value"], best["base"]) if x is not None])
        return best | {name: write(best[name]) for name in ("value", "base") if best[name] is not None}

    def _samples(self, steps: Sequence[int]) -> list[tuple[str, list[Sample | None]]]:
        """For each prompt its image at each step."""
        folder = self.run.path / SAMPLES
        return [
            (prompt, [self._picture(folder / f"step-{step}" / file, step) for step in steps])
            for file, prompt in self.inputs.shown().items()
            if steps
        ]

    def _picture(self, file: Path, step: int) -> Sample | None:
        """A reduced image; it is read once. None where there is no such file, because it could not be drawn."""
        from PIL import Image

        from palate.report.thumbnails import data_uri, thumbnail

        if file not in self._pictures:
            if not file.is_file():
                return None
            with Image.open(file) as image:
                small = thumbnail(image)
            self._pictures[file] = Sample(step, data_uri(small), *small.size)
        return self._pictures[file]


def _spread(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of the steps, evenly spaced, with the first and the last."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / (count - 1))] for place in range(count)]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the table of validations, with the texts of their cells by the names of the columns."""
    found: list[dict[str, float | None]] = []
    for row in rows:
        held_out = row.get("held_out", {})
        cells = {f"held-out {name}": held_out[name] for name in ("accuracy", "loss") if name in held_out}
        for scorer, values in row.get("scores", {}).items():
            cells |= {f"{scorer}, {name}": values[name] for name in ("median", "mean")}
        found.append(cells)
    names = dict.fromkeys(name for cells in found for name in cells)
    columns = {name: [x for cells in found if (x := cells.get(name)) is not None] for name in names}
    write = {name: writer(numbers) for name, numbers in columns.items()}
    return [
        {
            "step": row["step"],
            "seconds": row["seconds"],
            "cells": {name: write[name](x) if x is not None else UNKNOWN for name, x in cells.items()},
        }
        for row, cells in zip(rows, found)
    ]
