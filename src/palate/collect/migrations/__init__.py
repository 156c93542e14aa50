"""Alembic's scripts, which create and update a study's database."""
