"""The parts that the exports of annotation tools have in common: references to images, and answers that name them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from palate.core.errors import InputError
from palate.prefer.formats.labelstudio import SERVED
from palate.records.checked import PROMPTS
from palate.records.image_folder import IMAGE_ENDINGS
from palate.records.images import StoredImage
from palate.records.ranked import rank

TIES = {"tie", "tied", "draw", "equal", "same", "both", "neither", "none", "bothgood", "bothbad", "allbad"}
_SIDES = (("left", "right"), ("first", "second"))
_SHOWN = re.compile(r"""<img\b[^<>]*?\bsrc\s*=\s*["']?([^"'\s>]+)|!\[[^\[\]]*\]\(([^)\s]+)\)""", re.IGNORECASE)
_ADDRESSED = re.compile(rf"{re.escape(SERVED)}|/data/(?=upload/)")


def references_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The references to a record's images by name: the items of a list of images, or else the fields with images."""
    lists = [value for value in fields.values() if isinstance(value, list)]
    items = [item for value in lists for item in value if isinstance(item, dict) and "id" in item]
    listed = {str(item["id"]): next((value for key, value in item.items() if _shows(key, value)), "") for item in items}
    return listed if any(listed.values()) else {key: value for key, value in fields.items() if _shows(key, value)}


def image_of_reference(reference: Any, folder: Path, name: str) -> StoredImage:
    """The image of a reference: a path below the export's folder, a `data:` URL, or HTML or Markdown with either.

    Raises:
        InputError: the image is on the network, outside the folder, or damaged.
    """
    if isinstance(reference, dict):  # a value of a column of images
        if isinstance(reference.get("bytes"), bytes):
            return StoredImage(data=reference["bytes"], name=name)
        reference = reference.get("path")
    if not isinstance(reference, str) or not reference:
        raise InputError(f"{name} is not an image; name a file in the folder of the export")
    shown = _SHOWN.search(reference)
    text = (shown[1] or shown[2]) if shown else reference
    if text.startswith("data:"):
        return StoredImage(data=_decoded(text, name), name=name)
    if "://" in text or text.startswith("//"):
        fix = "download it into the folder of the export and give its file name"
        raise InputError(f"{text[:120]!r} is not on this machine; {fix}")
    return StoredImage(path=_below(folder, unquote(_ADDRESSED.sub("", text)) if _ADDRESSED.match(text) else text))


def ranks_of_choice(values: Any, keys: Sequence[str]) -> tuple[int, ...] | None:
    """The ranks [n] from the names, or the sides (left or right), of the chosen images; None for other answers.

    Raises:
        InputError: a side was chosen, and the names do not say which image is on that side.
    """
    words = [_plain(value) for value in values if isinstance(value, str)] if isinstance(values, list) else []
    if words and all(word in TIES for word in words):
        return (1,) * len(keys)
    names = {_plain(key): place for place, key in enumerate(keys)}
    if {"left", "right"} & {*words} - {*names}:
        names |= {side: keys.index(key) for side, key in zip(("left", "right"), _sides(keys))}
    places = {names.get(word) for word in words}
    return rank([place not in places for place in range(len(keys))]) if places and None not in places else None


def ranks_of_order(groups: Sequence[Sequence[str]], keys: Sequence[str]) -> tuple[int, ...]:
    """The ranks [n] of images from groups of their names, best group first; the images of one group share a rank.

    Raises:
        InputError: an image is missing, or occurs twice.
    """
    names = {_plain(key): key for key in keys}
    places = {names.get(_plain(one), one): place for place, group in enumerate(groups) for one in group}
    if sum(map(len, groups)) != len(keys) or set(places) != set(keys):
        given = f"{[*map(list, groups)]!s:.160}"
        raise InputError(f"the ranking {given} must have each of {', '.join(keys)} once; correct it")
    return rank([places[key] for key in keys])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _sides(keys: Sequence[str]) -> tuple[str, ...]:
    """The names of two images, the left one first."""
    for left, right in (keys, keys[::-1]) if len(keys) == 2 else ():
        if _in_order(left, right):
            return left, right
    fix = "use two names such as image1 for the left image and image2 for the right image"
    raise InputError(f"the names {', '.join(keys)} do not say which image is on the left; {fix}")


def _in_order(left: str, right: str) -> bool:
    """Whether two names differ only in one word, such as 1 and 2, a and b, or left and right, in this order."""
    words = [re.findall(r"\d{1,18}|[^\W\d_]+", key.lower()) for key in (left, right)]
    unlike = [pair for pair in zip(*words) if pair[0] != pair[1]]
    if len(words[0]) != len(words[1]) or len(unlike) != 1:
        return False
    ((first, second),) = unlike
    if first.isdecimal() and second.isdecimal():
        return int(first) < int(second)
    lettered = first[:-1] == second[:-1] and ord(second[-1]) - ord(first[-1]) == 1
    return lettered or any(one in first and first.replace(one, other) == second for one, other in _SIDES)


def _shows(key: str, value: Any) -> bool:
    """Whether a field contains an image."""
    if isinstance(value, dict):
        return "bytes" in value and "path" in value
    if not isinstance(value, str) or str(key).lower() in PROMPTS:
        return False
    named = re.search("image|img|picture|photo", str(key).lower()) and "/" in value
    ends = (value.lower().endswith(IMAGE_ENDINGS), value.lower().split("?")[0].endswith(IMAGE_ENDINGS))
    return bool(named or any(ends) or value.startswith("data:image") or _SHOWN.search(value))


def _decoded(url: str, name: str) -> bytes:
    head, comma, body = url.partition(",")
    try:
        data = base64.b64decode(unquote(body), validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the data: URL of {name} is damaged ({error}); export it again") from error
    if not comma or not data:
        raise InputError(f"the data: URL of {name} is empty; export it again")
    return data


def _below(folder: Path, name: str) -> Path:
    """A path in the folder; links are resolved, so a link that leads out of the folder is refused."""
    try:
        path = (folder / name).resolve()
        path.is_file()  # raises an error for a name that the file system does not allow
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError for a link to itself
        fix = "name a file in the folder of the export"
        raise InputError(f"{name[:120]!r} is not a valid file name ({error}); {fix}") from error
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"the image {name[:120]!r} is outside of {folder}; move it into that folder")
    return path
