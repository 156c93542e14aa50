"""The first tables, and the triggers that refuse changes and deletions of votes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REFUSAL = "votes are only ever added"


def upgrade() -> None:
    """Creates all tables and triggers."""
    _study()
    _items()
    _raters()
    _votes()
    _triggers()


def _study() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("owner_hash", sa.String(64), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
    )


def _items() -> None:
    op.create_table(
        "image",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("file", sa.String(80), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
    )
    op.create_table(
        "item",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("purpose", sa.String(8), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("images", sa.JSON(), nullable=False),
        sa.Column("answer", sa.JSON()),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("filled", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
    )
    op.create_index("item_next", "item", ["purpose", "filled", "turn"])


def _raters() -> None:
    op.create_table(
        "rater",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("quarantined", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
    )
    op.create_table(
        "assignment",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("item_id", KEY, sa.ForeignKey("item.id"), nullable=False),
        sa.Column("rater_id", KEY, sa.ForeignKey("rater.id"), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("order", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.UniqueConstraint("rater_id", "item_id", "repeat"),
    )
    op.create_index("assignment_leases", "assignment", ["state", "until"])
    op.create_table(
        "handle",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("assignment_id", KEY, sa.ForeignKey("assignment.id"), nullable=False, index=True),
        sa.Column("image_id", KEY, sa.ForeignKey("image.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
    )


def _votes() -> None:
    op.create_table(
        "vote",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("uuid", sa.String(36), nullable=False, unique=True),
        sa.Column("assignment_id", KEY, sa.ForeignKey("assignment.id"), nullable=False, index=True),
        sa.Column("rater_id", KEY, sa.ForeignKey("rater.id"), nullable=False),
        sa.Column("item_id", KEY, sa.ForeignKey("item.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Double()),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("supersedes", KEY, sa.ForeignKey("vote.id"), unique=True),
    )
    op.create_index("vote_by_rater", "vote", ["rater_id", "id"])


def _triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        there = "id = NEW.id OR uuid = NEW.uuid OR supersedes = NEW.supersedes"
        guards = {
            "UPDATE": "",
            "DELETE": "",
            "INSERT": f"WHEN EXISTS (SELECT 1 FROM vote WHERE {there})",  # REPLACE deletes without a trigger of DELETE
        }
        for verb, when in guards.items():
            refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            op.execute(f"CREATE TRIGGER vote_no_{verb.lower()} BEFORE {verb} ON vote {when} {refuse}")
        return
    body = f"BEGIN RAISE EXCEPTION '{REFUSAL}'; END"
    op.execute(f"CREATE FUNCTION palate_refuse() RETURNS trigger AS $$ {body} $$ LANGUAGE plpgsql")
    op.execute(
        "CREATE TRIGGER vote_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON vote "
        "FOR EACH STATEMENT EXECUTE FUNCTION palate_refuse()"
    )
