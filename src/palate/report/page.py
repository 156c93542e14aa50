"""The templates of reports, and a configuration as rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from palate.core.progress import duration
from palate.report.number_format import count

if TYPE_CHECKING:
    import jinja2


def template(name: str, package: str) -> jinja2.Template:
    """A template of a package; it may include the styles and the macros of this one. All inserted text is escaped.

    Args:
        name: the file, such as `report.html.jinja`.
        package: the package whose folder `templates` has the file, such as `palate.evaluate.report`.
    """
    return _environment(package).get_template(name)


@lru_cache
def _environment(package: str) -> jinja2.Environment:
    """Keeps its compiled templates: to compile them takes longer than to write a page, and `align` writes many."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(each) for each in (package, "palate.report")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"duration": duration, "count": count}
    return environment


def flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested configuration as (dotted key, value) in the order given."""
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{key}", ", ".join(map(str, value)) or "none"))
        else:
            rows.append((f"{prefix}{key}", "default" if value is None else str(value)))
    return rows
