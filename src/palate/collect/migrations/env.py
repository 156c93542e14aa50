"""Runs the migrations on the connection that `Database.migrate` gives."""

from __future__ import annotations

from alembic import context

from palate.collect.database_rows import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
