"""The report: one self-contained HTML file with images, charts and styles, which loads no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palate import __version__
from palate.core.files import write_atomic
from palate.core.statistics import ENOUGH, RESAMPLES
from palate.evaluate.compare import Comparison

TITLE = "What the model learned"


@dataclass(frozen=True)
class Stage:
    """One part of a run: the command that repeats it, and its duration."""

    name: str
    seconds: float
    command: str = ""


def write_report(
    path: str | Path,
    comparison: Comparison,
    *,
    curves: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
    stages: Sequence[Stage] = (),
    title: str = TITLE,
) -> Path:
    """Writes report.html; after an error, the file is as it was before.

    Args:
        path: the path of the file.
        comparison: the measured values.
        curves: rows of the training's metrics.jsonl; without them, no curves are drawn.
        config: the configuration; nested mappings are shown with dotted names.
        stages: the parts of the run, in order.
        title: the page's heading.
    """
    page = render_report(comparison, curves=curves, config=config, stages=stages, title=title)
    write_atomic(Path(path), page)
    return Path(path)


def render_report(
    comparison: Comparison,
    *,
    curves: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
    stages: Sequence[Stage] = (),
    title: str = TITLE,
) -> str:
    """The HTML of the page; arguments as for `write_report`. All inserted text is escaped."""
    from palate.evaluate.report import pictures, view
    from palate.report.charts import CURVES, line_chart
    from palate.report.page import flatten, template

    changes = pictures.verdict_changes(comparison)
    return template("report.html.jinja", __name__).render(
        title=title,
        version=__version__,
        comparison=comparison,
        judged=comparison.judged.judge,
        by_preference="faithful" not in comparison.judged.measures,
        sentence=view.comparison_sentence(comparison),
        cards=view.cards(comparison),
        shown=pictures.pair_gallery(comparison),
        pairs=changes.size,
        tally={name: int((changes == worth).sum()) for worth, name in pictures.CHANGES.items()},
        charts=[chart for curve in CURVES if (chart := line_chart(curve, curves))],
        measures=view.measure_rows(comparison),
        requests=view.request_tables(comparison),
        others=view.judge_rows(comparison),
        intervals=view.interval_rows(comparison),
        config=flatten(config or {}),
        stages=stages,
        total=sum(stage.seconds for stage in stages),
        enough=ENOUGH,
        resamples=RESAMPLES,
    )
