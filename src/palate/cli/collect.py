"""`palate collect new`, `invite`, `serve`, `status`, `export` and `import`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palate.cli.dispatch import Command, dispatch
from palate.collect.config import ServeConfig, StudyConfig
from palate.core.config import parse

DESCRIPTION = "Lets people compare images in a browser; no vote is lost."
NEW = "Makes a study from folders of images or from ranked sets."
SERVE = "Serves a study to its raters and its owner."
INVITE = "Makes links for raters, one link for each person."
STATUS = "Prints the progress of a study and the quality of its votes."
IMPORT = "Reads votes that were collected elsewhere: Label Studio, Argilla, Pick-a-Pic, HPDv2, folders of pairs."
EXPORT = "Writes a study's votes as ranked sets, for `palate align`, or in another format."


@dataclass(frozen=True, kw_only=True)
class InviteConfig:
    """Who is invited."""

    study: Path
    """Folder of the study."""
    rater: tuple[str, ...]
    """Names, one or more; the owner sees them."""
    url: str | None = None
    """Address of the study; when left out, the address at which `palate collect serve` serves it or last served it."""
    renew: bool = False
    """Give existing raters a new link, which makes the old one invalid, instead of refusing."""

    def __post_init__(self) -> None:
        if not self.rater or len(set(self.rater)) < len(self.rater):
            raise ValueError("rater must be at least one name, each once")


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Which study."""

    study: Path
    """Folder of the study."""


def run(argv: Sequence[str]) -> int:
    """Runs a subcommand."""
    return dispatch("palate collect", DESCRIPTION, COMMANDS, argv)


def _new(argv: Sequence[str]) -> int:
    config = parse(StudyConfig, argv, prog="palate collect new", description=NEW)
    _need_extra()
    from palate.collect.new import MADE_SMALLER, SEVERAL_SIZES, new_study

    made = new_study(config)
    print(f"{made.folder} has " + ", ".join(f"{count} {what}" for what, count in made.counts.items()))
    if smaller := made.counts.get(MADE_SMALLER):
        print(f"note: {smaller} images are as small as the smallest beside them; --sizes keep leaves each as it is")
    elif mixed := made.counts.get(SEVERAL_SIZES):
        print(f"note: {mixed} screens have images of several sizes, so raters may recognise systems; see --sizes fit")
    where = f"--study {made.folder}"
    print(f"next: palate collect invite {where} --rater NAME, then palate collect serve {where}")
    return 0


def _serve(argv: Sequence[str]) -> int:
    config = parse(ServeConfig, argv, prog="palate collect serve", description=SERVE)
    _need_extra()
    from palate.collect.web.server import serve

    def ready(study: Any, addresses: Sequence[str]) -> None:
        print(f"serving {config.study} at {addresses[0]} until Ctrl-C")
        for also in addresses[1:]:
            print(f"also at {also}")
        if config.url is None and config.host not in ("127.0.0.1", "::1", "localhost"):
            print("hint: give --url if raters use another address, such as that of a reverse proxy")
        print(f"owner: {addresses[0]}/owner/enter/{study.renew_owner()}", flush=True)

    serve(config, ready)
    return 0


def _invite(argv: Sequence[str]) -> int:
    config = parse(InviteConfig, argv, prog="palate collect invite", description=INVITE)
    _need_extra()
    from palate.collect.claim import last_address
    from palate.collect.study import open_study

    study = open_study(config.study)
    url = (config.url or last_address(study.folder) or "http://127.0.0.1:8642").rstrip("/")
    for name, token in zip(config.rater, study.invite(config.rater, config.renew)):
        print(f"{name}: {url}/r/{token}")
    study.close()
    return 0


def _status(argv: Sequence[str]) -> int:
    config = parse(StatusConfig, argv, prog="palate collect status", description=STATUS)
    _need_extra()
    from palate.collect.characters import visible_text
    from palate.collect.quality.study_quality import quality
    from palate.collect.quality.summary import summary
    from palate.collect.study import open_study

    study = open_study(config.study)
    print("\n".join(map(visible_text, summary(quality(study)))))
    study.close()
    return 0


def _export(argv: Sequence[str]) -> int:
    _need_extra()
    from palate.collect.export import ExportConfig, export_study
    from palate.core.runs import RunFolder

    config = parse(ExportConfig, argv, prog="palate collect export", description=EXPORT)
    folder = export_study(config)
    summary = RunFolder(folder).finished or {}
    print(f"{folder} has " + ", ".join(f"{count} {what}" for what, count in summary.items()))
    print(f"next: palate align dpo --model MODEL --preferences {folder} --out runs/dpo")
    return 0


def _import(argv: Sequence[str]) -> int:
    from palate.cli.prefer import import_votes

    return import_votes("palate collect import", IMPORT, argv)


def _need_extra() -> None:
    """Raises PalateError where the packages of the extra are not installed."""
    from importlib.util import find_spec

    from palate.core.errors import PalateError

    if missing := [name for name in ("alembic", "fastapi", "sqlalchemy", "uvicorn") if find_spec(name) is None]:
        raise PalateError(f"`palate collect` needs {', '.join(missing)}; pip install 'palate[collect]'")


COMMANDS = {
    "new": Command(NEW, _new),
    "invite": Command(INVITE, _invite),
    "serve": Command(SERVE, _serve),
    "status": Command(STATUS, _status),
    "export": Command(EXPORT, _export),
    "import": Command(IMPORT, _import),
}
