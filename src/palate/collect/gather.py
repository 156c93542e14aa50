"""The questions of a study, from folders of images or from ranked sets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from palate.collect.characters import unstorable_character
from palate.collect.config import StudyConfig
from palate.core.errors import InputError
from palate.core.seeds import derive
from palate.prefer.load import iterate_preferences
from palate.records.image_folder import CAPTIONS, ImageRecord, read_image_folder
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet
from palate.records.systems import image_source
from palate.records.tally import Tally


@dataclass(frozen=True)
class Original:
    """An image of the source, before it is prepared for raters."""

    image: StoredImage
    system: str = ""
    seed: int | None = None
    about: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Question:
    """Images of one prompt that are compared with each other; `answer` is the known ranking, for gold."""

    prompt: str
    originals: tuple[Original, ...]
    answer: tuple[int, ...] | None = None


def gather(config: StudyConfig, tally: Tally) -> list[Question]:
    """Every question of a study, in the order of the questions' keys; at most `limit`, where it is given.

    Raises:
        InputError: the images do not exist, one is broken, or there is nothing to compare.
    """
    if config.live:
        return []
    groups = _of_sets(config.preferences, tally) if config.preferences else _of_folders(config, tally)
    questions = [question for group in _sound(groups, tally) for question in _split(config, group, tally)]
    if not questions:
        raise InputError("there is nothing to compare: no prompt has enough images; give more images, or a smaller n")
    questions.sort(key=lambda each: derive(config.seed, "item", _key(each)))
    return questions[: config.limit]


def gather_gold(config: StudyConfig, tally: Tally) -> list[Question]:
    """Questions with a known answer; those without one, or with another number of images than the study, are left out.

    Raises:
        InputError: the ranked sets do not exist, or none of them fits.
    """
    if config.gold is None:
        return []
    n, found = config.per_screen, []
    for each in _sound(_of_sets(config.gold, tally), tally):
        if each.answer and len(each.originals) == n and len(set(each.answer)) > 1:
            found.append(each)
        else:
            tally.drop("gold without a winner, or of another size")
    if not found:
        raise InputError(
            f"{config.gold} has no ranking of {n} images that could be gold; give sets of {n} with a winner"
        )
    return found


def _of_folders(config: StudyConfig, tally: Tally) -> Iterator[Question]:
    """Groups of images of one prompt: from one folder, or those with the same number from every folder."""
    sources = list(map(image_source, config.images))
    named = [(source.system or source.folder.name, source.folder) for source in sources]
    if len({name for name, _ in named}) < len(named):
        raise InputError("images must have distinct names; write name=folder")
    groups: dict[tuple[str, int, int], list[Original]] = defaultdict(list)
    for name, folder in named:
        seen: Counter[tuple[str, int]] = Counter()  # a folder may contain a prompt twice
        for record in _inside(read_image_folder(folder, tally), folder, tally):
            about = (("image_index", record.image_index), ("file_name", record.file_name))
            original = Original(record.image, name or record.model, record.seed, about)
            key = (record.prompt, record.image_index)
            groups[(*key, seen[key]) if len(named) > 1 else (record.prompt, 0, 0)].append(original)
            seen[key] += 1
    for (prompt, *_), originals in groups.items():
        yield Question(prompt, tuple(originals))


def _inside(records: Iterable[ImageRecord], folder: Path, tally: Tally) -> Iterator[ImageRecord]:
    """The records whose image and caption file are in the folder, because raters see both."""
    _require_inside(folder.rglob("metadata.*"), folder)
    for record in records:
        check = partial(_require_inside, _files_of(record.image), folder)
        if _passes(tally, f"{folder}, image {record.file_name!r}", check):
            yield record


def _files_of(image: StoredImage) -> list[Path]:
    """The file of an image and its caption files; none where the image is in a table."""
    beside = [image.path.with_suffix(ending) for ending in CAPTIONS] if image.path else []
    return [image.path, *(path for path in beside if path.is_file())] if image.path else []


def _require_inside(paths: Iterable[Path], folder: Path) -> None:
    """Raises InputError where a name such as `../x.png`, or a link, leads out of the folder."""
    for path in paths:
        if not path.resolve().is_relative_to(folder.resolve()):
            fix = "raters would be shown it; copy it into the folder, or leave it out"
            raise InputError(f"{path} is outside of {folder} and is not taken, as {fix}")


def _of_sets(source: str, tally: Tally) -> Iterator[Question]:
    """Every ranked set, with its ranking as the answer; all images of a file or folder must be in it."""
    given = Path(source).expanduser()
    folder = given if given.is_dir() else given.parent if given.is_file() else None
    for each in iterate_preferences(source, tally):
        question = Question(each.prompt, _originals(each), tuple(each.ranks) if each.ranks else None)
        paths = [image.path for image in each.images if image.path]
        if folder is None or _passes(tally, _named_by(question), partial(_require_inside, paths, folder)):
            yield question


def _sound(groups: Iterable[Question], tally: Tally) -> Iterator[Question]:
    """The questions whose prompt and names of systems every database can store."""
    for each in groups:
        if _passes(tally, _named_by(each), partial(_require_storable, each)):
            yield each


def _require_storable(question: Question) -> None:
    for text in (question.prompt, *(original.system for original in question.originals)):
        if wrong := unstorable_character(text):
            raise InputError(f"the prompt, or the name of a system, has {wrong}, which no database keeps; leave it out")


def _passes(tally: Tally, name: str, check: Callable[[], None]) -> bool:
    """Whether something passes a check; bad rows are counted where they may be left out, else they are an error."""
    with tally.row(name):
        check()
        return True
    return False


def _named_by(question: Question) -> str:
    return f"prompt {question.prompt!r:.80}"


def _originals(ranked: RankedSet) -> tuple[Original, ...]:
    n = len(ranked.images)
    systems, seeds = ranked.systems or ("",) * n, ranked.seeds or (None,) * n
    return tuple(Original(*each) for each in zip(ranked.images, systems, seeds))


def _split(config: StudyConfig, group: Question, tally: Tally) -> Iterator[Question]:
    """Questions of n images: every pair of a group, or as many sets of n as the group has images for."""
    n, originals = config.per_screen, group.originals
    if len(originals) < n:
        tally.drop("groups with too few images")
        return
    if config.task == "pairwise":
        chosen: Sequence[tuple[Original, ...]] = list(combinations(originals, 2))
    else:
        chosen = [originals[start : start + n] for start in range(0, len(originals) - n + 1, n)]
        for _ in range(len(originals) % n):
            tally.drop("images left over")
    for each in chosen:
        if len({original.image.digest() for original in each}) < n:
            tally.drop("comparisons of an image with itself")
        else:
            yield Question(group.prompt, each)


def _key(question: Question) -> str:
    return "\x1f".join([question.prompt, *(each.image.digest() for each in question.originals)])
