"""Ranked sets over several systems: which prompts all systems have, and real images above all others."""

from __future__ import annotations

from collections.abc import Sequence

from palate.core.errors import InputError, nearest
from palate.records.image_folder import ImageRecord
from palate.records.ranked import Vote, rank
from palate.records.tally import Tally


def matched(groups: Sequence[list[ImageRecord]], allow_missing: bool, tally: Tally) -> list[list[ImageRecord]]:
    """The groups in which every system has an image; all groups where there is only one system.

    Args:
        groups: the images of each prompt.
        allow_missing: leave other groups out and count them, instead of stopping.
        tally: counts them.

    Raises:
        InputError: a prompt has no image of a system; the message says how many match, with an example.
    """
    systems = list(dict.fromkeys(record.system for records in groups for record in records if record.system))
    missing = {
        records[0].prompt: [name for name in systems if name not in {record.system for record in records}]
        for records in groups
    }
    complete = [records for records in groups if not missing[records[0].prompt]]
    if len(complete) < len(groups):
        prompt, without = next((prompt, names) for prompt, names in missing.items() if names)
        what = f"{len(complete)} of {len(groups)} prompts have images of every system ({', '.join(systems)})"
        if not complete or not allow_missing:
            fix = "--allow-missing ranks these alone" if complete else "draw all systems with the same prompts"
            raise InputError(f"{what}; {prompt!r} has none of {without[0]}; {fix}")
        tally.drop("prompts without an image of every system", len(groups) - len(complete))
    return complete


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
