"""`palate cache`: what is kept for later runs, and `palate cache prune`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.cli.dispatch import Command, dispatch
from palate.core.cache_listing import ListConfig, PruneConfig, listing, prune
from palate.core.config import parse

DESCRIPTION = (
    "Lists or deletes what runs keep for later runs: latents, embeddings, errors, features, indexes, scores and "
    "converted models."
)
LIST = "list the entries with their model and data, size and last use; `palate cache` without a command does the same"
PRUNE = "delete entries by name, by age or all; entries in use are kept"


def run(argv: Sequence[str]) -> int:
    """Runs `palate cache` on its arguments; without a command it lists."""
    flags = not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help"))
    return dispatch("palate cache", DESCRIPTION, COMMANDS, ["list", *argv] if flags else argv)


def _list(argv: Sequence[str]) -> int:
    print(*listing(parse(ListConfig, argv, prog="palate cache list", description=LIST)), sep="\n")
    return 0


def _prune(argv: Sequence[str]) -> int:
    """The words before the first flag are names."""
    first = next((place for place, word in enumerate(argv) if word.startswith("-")), len(argv))
    words = ["--name", *argv[:first], *argv[first:]] if first else argv
    for line in prune(parse(PruneConfig, words, prog="palate cache prune", description=PRUNE)):
        print(line)
    return 0


COMMANDS = {"list": Command(LIST, _list), "prune": Command(PRUNE, _prune)}
