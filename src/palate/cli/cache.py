"""`palate cache`: what is kept for later runs, and `palate cache prune`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.cli.dispatch import Command, dispatch
from palate.core.cache_listing import ListConfig, PruneConfig, listing, prune
from palate.core.config import parse

DESCRIPTION = "What earlier runs keep for later ones: latents, embeddings, errors, features and indexes of feedback."
LIST = "list what is kept, of which model and data, how large and when it was last used; `palate cache` alone does too"
PRUNE = "delete entries by name, by age or all; those in use are left"


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
