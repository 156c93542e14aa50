"""Alembic's scripts: how a study's database came to be what it is."""
