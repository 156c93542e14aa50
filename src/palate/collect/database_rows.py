"""The tables of a study's database. Votes are only added: triggers refuse updates and deletions (see the migration).

An *item* is n images of a prompt that raters compare, in *places* 0 .. n - 1. An *assignment* is an item shown to a
rater, in an order of its own: `order[k]` is the place of the image at position k of the screen, from the left.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint, select
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

Key = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[int]: JSON, float: Double}  # noqa: RUF012  # as SQLAlchemy has it


class StudyRow(Base):
    """The only row of its table, which describes the study."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    config: Mapped[dict[str, Any]]
    owner_hash: Mapped[str] = mapped_column(String(64))
    secret: Mapped[str] = mapped_column(String(64))
    """The key of CSRF tokens and of random draws."""
    created: Mapped[float]


class ImageRow(Base):
    """A picture as raters see it: `file` is relative to the study's folder, without metadata.

    Equal pictures share a file, and have separate rows where they have different origins.
    """

    __tablename__ = "image"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    file: Mapped[str] = mapped_column(String(80))
    width: Mapped[int]
    height: Mapped[int]
    system: Mapped[str] = mapped_column(Text, default="")
    """The generator that made it; raters never see this."""
    seed: Mapped[int | None] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(Text, default="")
    """The path or place of the original."""
    about: Mapped[dict[str, Any]]
    """Other facts about it from its source."""


class ItemRow(Base):
    """Images of one prompt that raters are asked about."""

    __tablename__ = "item"
    __table_args__ = (Index("item_next", "purpose", "filled", "turn"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(8))
    """`real`, `gold`, or `live` for the images of a rater's own prompt."""
    prompt: Mapped[str] = mapped_column(Text)
    images: Mapped[list[int]]
    """The id of the image at each place."""
    answer: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    """The ranks by place [n] that a gold item is known to have."""
    turn: Mapped[int]
    """A random number from the study's seed: the order of items that have the same number of votes."""
    filled: Mapped[int] = mapped_column(default=0)
    """The votes of raters that count, and current leases; the item is complete when it reaches `raters_per_item`."""
    left: Mapped[int] = mapped_column(default=0)
    """How often place 0 was shown before place 1, minus how often after it."""


class RaterRow(Base):
    """A person who votes."""

    __tablename__ = "rater"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    quarantined: Mapped[bool] = mapped_column(default=False)
    """Whether their votes, which are kept, do not count."""
    created: Mapped[float]
    done: Mapped[int] = mapped_column(default=0)
    left: Mapped[int] = mapped_column(default=0)
    """How often they saw place 0 before place 1, minus how often after it."""


class AssignmentRow(Base):
    """An item shown to a rater; `repeat` is 1 for the mirrored second time."""

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("rater_id", "item_id", "repeat"),
        Index("assignment_leases", "state", "until"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"))
    repeat: Mapped[int] = mapped_column(default=0)
    order: Mapped[list[int]]
    state: Mapped[str] = mapped_column(String(8))
    """`leased`, `expired` or `done`."""
    until: Mapped[float]
    created: Mapped[float]


class HandleRow(Base):
    """The random name under which one assignment's image is fetched."""

    __tablename__ = "handle"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"), index=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    position: Mapped[int]


class VoteRow(Base):
    """A vote of a rater; it is never changed. A vote that another one supersedes does not count."""

    __tablename__ = "vote"
    __table_args__ = (Index("vote_by_rater", "rater_id", "id"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    """Chosen by the client, so that sending a vote again changes nothing."""
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"), index=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    """`answer`, `skip`, `flag` or `undo`."""
    said: Mapped[dict[str, Any]]
    """`answers`: as the rater saw the screen, by question; `ranks`: by place, by question; or a `reason`."""
    seconds: Mapped[float | None]
    created: Mapped[float]
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("vote.id"), unique=True)


def standing_votes_query(rater_id: int | None = None) -> Any:
    """A query of the votes that count: answers, skips and flags that no other vote supersedes."""
    later = aliased(VoteRow)
    query = select(VoteRow).where(
        VoteRow.kind != "undo", ~select(later.id).where(later.supersedes == VoteRow.id).exists()
    )
    return query if rater_id is None else query.where(VoteRow.rater_id == rater_id)
