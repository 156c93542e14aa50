"""Reads the votes of a study that are exported, and counts those that are not."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from palate.collect.database_rows import AssignmentRow, ImageRow, ItemRow, RaterRow, VoteRow, standing_votes_query
from palate.collect.study import OpenStudy
from palate.records.images import StoredImage
from palate.records.tally import Tally

BOTH_BAD = ("both_bad", "all_bad")


@dataclass(frozen=True)
class Ballot:
    """The answer of one rater to one item.

    Attributes:
        vote: the number of the vote in the study.
        number: the number of the rater, from 1.
        rater: the rater's name, or `rater-<number>`.
        ranks: the ranks by place [n], 1 is best.
        stars: the stars by place [n], in a rating.
        tie: the kind of tie, such as `both_bad` or `all_bad`; "" where there is none.
        seconds: the time that it took, where that is known.
        created: the time of the vote, in seconds since 1970.
    """

    vote: int
    number: int
    rater: str
    ranks: tuple[int, ...]
    stars: tuple[int, ...]
    tie: str
    seconds: float | None
    created: float


@dataclass(frozen=True)
class Asked:
    """An item with the ballots that count, in the order in which they were given.

    Attributes:
        images, systems, seeds: by place [n]; the images are the pictures that raters saw.
    """

    item: int
    prompt: str
    images: tuple[StoredImage, ...]
    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    ballots: tuple[Ballot, ...]


def read_ballots(
    study: OpenStudy, question: str, tally: Tally, *, anonymous: bool, counted: bool, least: int
) -> list[Asked]:
    """Every item with enough ballots, in the order in which items were made.

    Left out and counted are skips, flags, votes that were taken back, votes on gold and on mirrored repeats, items with
    too few votes, and items that show one picture twice: two files of the same pixels are one picture to raters.

    Args:
        question: the question of the study whose answers are read.
        anonymous: replace raters' names by numbers.
        counted: leave out the votes of raters who are quarantined.
        least: the minimum number of votes of an item.
    """
    with study.database.read() as session:
        ballots = _ballots(session, study, question, tally, anonymous, counted)
        items = session.scalars(select(ItemRow).where(ItemRow.purpose != "gold").order_by(ItemRow.id)).all()
        images = {image.id: image for image in session.scalars(select(ImageRow))}
        asked = []
        for item in items:
            given, shown = ballots.get(item.id, []), [images[each] for each in item.images]
            if len({image.file for image in shown}) < len(shown):  # files are named by their content
                tally.drop("items that show one picture twice")
            elif len(given) >= least:
                asked.append(_asked(study, item, shown, given))
            else:
                tally.drop(f"items with fewer than {least} votes" if given else "items without votes")
    return asked


def state(study: OpenStudy, counted: bool) -> dict[str, str]:
    """The inputs that an export depends on: the number of votes, and which raters are quarantined."""
    with study.database.read() as session:
        votes, last = session.execute(select(func.count(VoteRow.id), func.max(VoteRow.id))).one()
        quarantined = session.scalars(select(RaterRow.id).where(RaterRow.quarantined).order_by(RaterRow.id)).all()
    apart = {"quarantined": ", ".join(map(str, quarantined))} if counted and quarantined else {}
    return {"votes": f"{votes} up to number {last or 0}", **apart}


def _ballots(
    session: Session, study: OpenStudy, question: str, tally: Tally, anonymous: bool, counted: bool
) -> dict[int, list[Ballot]]:
    query = (
        standing_votes_query()
        .join(AssignmentRow, AssignmentRow.id == VoteRow.assignment_id)
        .join(ItemRow, ItemRow.id == VoteRow.item_id)
    )
    columns = (
        VoteRow.id,
        VoteRow.rater_id,
        VoteRow.item_id,
        VoteRow.kind,
        VoteRow.said,
        VoteRow.seconds,
        VoteRow.created,
    )
    query = query.with_only_columns(*columns, AssignmentRow.repeat, ItemRow.purpose).order_by(VoteRow.id)
    rows = session.execute(query).all()  # read first: the rater and item of a vote exist before it
    superseded = select(VoteRow.supersedes).where(VoteRow.supersedes.is_not(None))
    for kind in session.scalars(select(VoteRow.kind).where(VoteRow.id.in_(superseded))):
        tally.drop(f"{kind}s taken back")
    people = session.scalars(select(RaterRow).order_by(RaterRow.id))
    raters = {rater.id: (number, rater) for number, rater in enumerate(people, 1)}
    ballots: dict[int, list[Ballot]] = defaultdict(list)
    for row in rows:
        number, rater = raters[row.rater_id]
        if reason := _left_out(row, rater, counted):
            tally.drop(reason)
            continue
        tally.drop("answers to other questions", len(row.said["ranks"]) - 1)
        name = f"rater-{number}" if anonymous else rater.name
        ballots[row.item_id].append(_ballot(row, study.config.task, question, number, name))
    return ballots


def _left_out(row: Any, rater: RaterRow, counted: bool) -> str | None:
    """The reason why a vote that was not taken back is left out; None where it counts."""
    if counted and rater.quarantined:
        return "votes of quarantined raters"
    if row.kind != "answer":
        return f"{row.kind}s"
    if row.purpose == "gold":
        return "votes on gold"
    return "votes on mirrored repeats" if row.repeat else None


def _ballot(row: Any, task: str, question: str, number: int, name: str) -> Ballot:
    answer, order = row.said["answers"][question], row.said["order"]
    stars = tuple(answer[order.index(place)] for place in range(len(order))) if task == "rating" else ()
    ranks = tuple(row.said["ranks"][question])
    tie = answer if isinstance(answer, str) and len(set(ranks)) == 1 else ""
    return Ballot(row.id, number, name, ranks, stars, tie, row.seconds, row.created)


def _asked(study: OpenStudy, item: ItemRow, images: list[ImageRow], ballots: list[Ballot]) -> Asked:
    seeds = tuple(image.seed for image in images if image.seed is not None)
    return Asked(
        item=item.id,
        prompt=item.prompt,
        images=tuple(StoredImage(path=study.folder / image.file) for image in images),
        systems=tuple(image.system for image in images) if any(image.system for image in images) else (),
        seeds=seeds if len(seeds) == len(images) else (),
        ballots=tuple(ballots),
    )
