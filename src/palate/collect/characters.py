"""Characters that databases cannot store, that control a terminal, or that change the order of displayed text."""

from __future__ import annotations

import re
import unicodedata

TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Embeddings, overrides and isolates: they change the order of the text after them (Unicode Standard Annex #9,
2.1-2.5); with an override, raters read another prompt than the one that the model was given."""
MARKS = "\u061c\u200e\u200f"
"""Invisible marks of direction (the same, 2.6)."""
_TURNS = re.compile(f"[{TURNS}]")
_DIRECTIONS = re.compile(f"[{TURNS}{MARKS}]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
"""Controls that begin a new line or page, as some programs copy them."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Tags (U+E0000 to U+E007F) show nothing and hold a text of their own, but for flags such as Scotland's: a black flag,
# letters, and a tag that ends them.
_TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[\U000e0000-\U000e007f]")


def unstorable_character(text: str) -> str | None:
    """The name of a character that databases and files cannot store, such as `U+0000`; None where there is none."""
    found = _UNSTORABLE.search(text)
    return character_name(found[0]) if found else None


def typed_text(text: str) -> str:
    """Typed text with plain line breaks and without changes of direction, which are not typed on purpose.

    Raises:
        ValueError: it has a control character other than a tab or a new line, or a lone surrogate.
    """
    text = _BREAKS.sub("\n", text)
    if found := _CONTROLS.search(text) or _UNSTORABLE.search(text):
        raise ValueError(f"it has {character_name(found[0])}, a character that cannot be written")
    return _DIRECTIONS.sub("", text)


def visible_text(text: str) -> str:
    """A text that is safe to show: characters that change its order, control a terminal or hide text become numbers.

    Marks of direction are left out. The caller must isolate the text from its surroundings.
    """
    marked = _TURNS.sub(_number, _CONTROLS.sub(_number, text))
    marked = _UNSTORABLE.sub(_number, _TAGS.sub(lambda tag: tag[1] or _number(tag), marked))
    return re.sub(f"[{MARKS}]", "", marked)


def character_name(character: str) -> str:
    """`U+202E (RIGHT-TO-LEFT OVERRIDE)`"""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


def _number(found: re.Match[str]) -> str:
    return f"[U+{ord(found[0]):04X}]"
