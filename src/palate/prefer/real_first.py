"""Ranked sets over several systems: which prompts all systems have, and real images above all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from palate.core.errors import InputError, nearest
from palate.core.progress import note
from palate.records.image_folder import ImageRecord
from palate.records.ranked import Vote, rank
from palate.records.tally import Tally


def matched(
    groups: Sequence[list[ImageRecord]], allow_missing: bool, tally: Tally, least: int | None = None
) -> list[list[ImageRecord]]:
    """The groups in which every system has an image, or so many systems have; all where there is only one system.

    Args:
        groups: the images of each prompt.
        allow_missing: leave other groups out and count them, instead of stopping.
        tally: counts them.
        least: keep the groups with images of at least so many systems, instead of every one, and count the others.

    Raises:
        InputError: a prompt has no image of a system; the message says how many prompts match and how many each system
            has, with an example. Or no prompt matches.
    """
    made = [{record.system for record in records if record.system} for records in groups]
    prompts = Counter(system for systems in made for system in systems)
    systems = list(dict.fromkeys(record.system for records in groups for record in records if record.system))
    needed = len(systems) if least is None else min(least, len(systems))
    left = [records for records, found in zip(groups, made, strict=True) if len(found) >= needed]
    counts = ", ".join(f"{system}: {prompts[system]}" for system in systems)
    every = "every system" if needed == len(systems) else f"{needed} systems or more"
    what = f"{len(left)} of {len(groups)} prompts have images of {every} ({counts})"
    if len(left) < len(groups):
        if not left or not (allow_missing or least):
            records, found = next((r, found) for r, found in zip(groups, made) if len(found) < needed)
            lacks = next(system for system in systems if system not in found)
            fix = "--allow-missing ranks these alone" if left else "draw all systems with the same prompts"
            raise InputError(f"{what}; {records[0].prompt!r} has none of {lacks}; {fix}")
        tally.drop(f"prompts without an image of {every}", len(groups) - len(left))
        note(f"{what}, and the others are left out")
    elif any(len(found) < len(systems) for found in made):
        note(what)
    return left


def require_system(name: str, records: Sequence[ImageRecord]) -> None:
    """Raises InputError where no image is of a system."""
    systems = list(dict.fromkeys(record.system or record.model for record in records))
    if name not in systems:
        has = ", ".join(filter(None, systems)) or "none: score the folders of several systems together"
        raise InputError(f"no image is of the system {name!r}{nearest(name, systems)}; the systems are {has}")


def put_first(votes: Sequence[Vote], real: Sequence[bool]) -> list[Vote]:
    """The votes [n each] with all real images tied at rank 1, above all others, whose order stays the same."""
    return [
        Vote(vote.rater, rank([0 if each else place for place, each in zip(vote.ranks, real, strict=True)]))
        for vote in votes
    ]
