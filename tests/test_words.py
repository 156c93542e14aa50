"""Words that are not plain technical English, or that no longer name anything here, are in no file of the project."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

FORBIDDEN: dict[str, str] = {  # a word or phrase, in any case -> what to write instead
    "mend": "fix",
    "mends": "fixes",
    "mended": "fixed",
    "mending": "fixing",
    "foretell": "predict",
    "foretells": "predicts",
    "foretold": "predicted",
    "manieth": "its number, or its place",
    "by heart": "memorised",
    "is told of": "is given, or gets",
    "is no flag": "is not a flag",
    "whilst": "while",
    "amongst": "among",
    "lest": "so that ... not",
    "whence": "from which",
    "thereof": "of it",
    "betwixt": "between",
}


FOLDERS = ("src", "tests", "docs", "recipes", "benchmarks", "examples")
KINDS = {".py", ".md", ".html", ".js", ".css", ".sh", ".yaml"}
FILES = [ROOT / "README.md", ROOT / "CHANGELOG.md"] + [
    path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in KINDS
]


def found(text: str) -> list[str]:
    """The forbidden words and phrases of a text, as they are written there."""
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in FORBIDDEN)
    return re.findall(rf"(?<![\w-])(?:{words})(?![\w-])", text, flags=re.IGNORECASE)


def test_no_file_has_a_forbidden_word() -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{number} has {word!r}; write {FORBIDDEN[' '.join(word.lower().split())]!r}"
        for path in FILES
        if path != Path(__file__)  # which has the list
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for word in found(line)
    ]
    assert not hits, "\n".join(hits)


def test_words_are_found_in_any_case_and_only_whole() -> None:
    assert found("Mend it, learned by heart") == ["Mend", "by heart"]
    assert not found("it is recommended, amended and the latest")
