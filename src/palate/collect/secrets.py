"""Random tokens and names that cannot be guessed; only the hashes of tokens are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_token() -> str:
    """256 random bits, for a rater's or an owner's link."""
    return secrets.token_urlsafe(32)


def new_handle() -> str:
    """128 random bits, for the name of one image in one assignment."""
    return secrets.token_urlsafe(16)


def token_hash(token: str) -> str:
    """The stored hash of a token. The token is long and random, so a plain digest is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def equal_in_constant_time(first: str, second: str) -> bool:
    """Whether two texts are equal; the time does not depend on where they differ."""
    return hmac.compare_digest(first.encode(), second.encode())


def authentication_code(secret: str, *parts: str) -> str:
    """A message authentication code of parts, such as a CSRF token of a session."""
    return hmac.new(secret.encode(), "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()
