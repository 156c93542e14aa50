"""Readers of published formats, one module each: `matches(path)`, and `read(path, tally)` yields ranked sets."""
