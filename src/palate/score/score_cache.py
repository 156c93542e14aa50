"""Scores that are kept for later runs: an image that a scorer has scored once is not scored again.

One entry of the cache folder belongs to a scorer and to the versions of the libraries that compute it:

<root>/score/scores-<digest>/scores.sqlite    the score by the digest of the image's file and its prompt

SQLite keeps the file whole when a process is killed, and lets several processes write it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import palate
from palate.core.cache_folder import Entry, default_root, digest, library_versions
from palate.core.errors import PalateError
from palate.core.progress import note
from palate.core.user_code import PREFIX, class_digest

if TYPE_CHECKING:
    from palate.score.base import Scorer

FILE = "scores.sqlite"
LIBRARIES = ("torch", "transformers", "pillow", "numpy")
WAIT = 60.0
"""Seconds that a process waits for another one that writes."""
_AT_ONCE = 500


class KeptScores:
    """The scores of one scorer in the cache folder.

    If the folder cannot be used, or its file is damaged, this is printed once and nothing is kept.

    Args:
        scorer: the scorer.
        root: the cache folder; the default one when left out.
    """

    def __init__(self, scorer: Scorer, root: Path | None = None) -> None:
        self._scorer, self._reads_prompt = scorer.name, scorer.reads_prompt
        self._file: Path | None = None
        kind = (type(scorer).__qualname__, class_digest(type(scorer)))
        named = scorer.name if scorer.name.startswith(PREFIX) else ""  # two users' fingerprints may both be "1"
        self._name = f"scores-{digest(kind, named, scorer.fingerprint(), computing_versions())}"
        with self._usable():
            folder = (root or default_root()) / "score" / self._name
            self._entry = Entry(folder, {"kind": "scores", "model": scorer.name})
            self._file = folder / FILE
            with self._opened(self._file) as database:
                database.execute("CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, score REAL) WITHOUT ROWID")

    def key(self, image: str, prompt: str) -> bytes:
        """The key of a score.

        Args:
            image: the digest of the image's file.
            prompt: its prompt, which counts only if the scorer reads it.
        """
        text = f"{image}\x1f{prompt if self._reads_prompt else ''}"
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """The scores that are kept under some keys."""
        found: dict[bytes, float] = {}
        if self._file is None:
            return found
        with self._usable(), self._opened(self._file) as database:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                found |= dict(database.execute(f"SELECT key, score FROM scores WHERE key IN ({marks})", some))
        return found

    def put(self, scores: Mapping[bytes, float]) -> None:
        """Keeps scores; all of them or, if the process is killed meanwhile, none."""
        if self._file is None:
            return
        with self._usable(), self._opened(self._file) as database, database:
            database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", scores.items())

    @staticmethod
    def _opened(file: Path) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(file, timeout=WAIT))

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """A block after whose first failure nothing is kept any more."""
        try:
            yield
        except (PalateError, sqlite3.Error) as error:
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            fix = f"`palate cache prune {self._name}` deletes it" if damaged else "--no-cache leaves it out"
            note(f"scores are computed and not kept, as the cache of {self._scorer} cannot be used: {error}; {fix}")
            self._file = None


def computing_versions() -> str:
    """The versions of Palate and of the libraries with which scores are computed here."""
    return f"palate {palate.__version__}, {library_versions(*LIBRARIES)}"
