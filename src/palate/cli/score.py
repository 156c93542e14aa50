"""`palate score` and `palate score serve`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.cli.dispatch import Command
from palate.core.config import parse
from palate.score.serve import ServeScorersConfig
from palate.score.stage import ScoreConfig

DESCRIPTION = "Lets judges and reward models score each image of a folder; `palate score serve` serves scorers."
SERVE = "Serves scorers over HTTP: the scorer remote:<address> of another environment or machine."


def run(argv: Sequence[str]) -> int:
    """Scores and prints each scorer's mean, spread and range; or serves scorers."""
    if argv[:1] == ["serve"]:
        return _serve(argv[1:])
    config = parse(ScoreConfig, argv, prog="palate score", description=DESCRIPTION)

    from palate.core.runs import RunFolder
    from palate.score.scored import MEANS, SCORES, read_summaries
    from palate.score.stage import score

    folder = score(config)
    summaries = read_summaries(folder)
    width = max(map(len, summaries))
    print(f"{'':{width}} {'mean':>9} {'spread':>9} {'lowest':>9} {'highest':>9} {'images':>9}")
    for name, of in summaries.items():
        print(f"{name:{width}} {of.mean:9.3f} {of.spread:9.3f} {of.lowest:9.3f} {of.highest:9.3f} {of.images:9}")
    for name, means in (RunFolder(folder).finished or {}).get(MEANS, {}).items():
        print(f"{name}, mean by system: " + ", ".join(f"{system} {mean:.3f}" for system, mean in means.items()))
    print(f"each image's scores are in {folder / SCORES}")
    print(f"next: palate prefer from-scores --scores {folder} --out {folder}-preferences")
    return 0


def _serve(argv: Sequence[str]) -> int:
    config = parse(ServeScorersConfig, argv, prog="palate score serve", description=SERVE)
    from palate.score.serve import serve_scorers

    serve_scorers(config)
    return 0


COMMANDS = {"serve": Command(SERVE, _serve)}
