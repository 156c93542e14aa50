"""Argilla's exports of records with images.

This reads the files of `Dataset.to_disk` and `records.to_json` (`fields` and `responses`), and a `datasets` folder,
Parquet or JSON lines (`<question>.responses`, `.users` and `.status`; in version 1, a list of `value`, `user_id` and
`status`). An answer is a ranking of the names of the image fields, or a label that is one of these names, `left`,
`right` or a tie. Where several questions have such answers, the one with most answers is read. Version 2 exports a
ranking as an order, so its ties are lost in the export; version 1 keeps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.prefer.aggregation import aggregate
from palate.prefer.readers.annotated import (
    image_of_reference,
    ranks_of_choice,
    ranks_of_order,
    references_in,
)
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split, of_split
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.parquet import parquet_rows
from palate.records.ranked import RankedSet, Vote
from palate.records.table_files import read_table
from palate.records.table_stream import first_object
from palate.records.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa

_ANSWER = {"value", "status"}
"""The keys of an answer in version 1."""


@dataclass(frozen=True)
class _Response:
    question: str
    rater: str
    value: Any
    status: str | None


def matches(path: Path) -> bool:
    """Whether this is such an export, or a folder with one."""
    return bool(_found(path))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One ranked set for each record, with a vote for each submitted response.

    Drafts, discarded responses and answers to other questions are left out and counted. A response without a status
    (`records.to_json` writes none) is taken as submitted, and counted too.

    Raises:
        InputError: no response ranks images, or a row is bad.
    """
    files = of_split(_found(path), selection.split, path, tally)
    if not files:
        raise InputError(f"{path} has no records of Argilla; give records.json, or a folder of `datasets`")
    question = _question(files, path)
    for name, row, folder in _rows(files, tally):
        with tally.row(name):
            if not isinstance(row, dict):
                raise InputError("it is not a record with fields and responses; export it again")
            fields, responses = _record(row)
            references = references_in(fields)
            if len(references) < 2:
                where = "each image must be a field, or an item of a list"
                raise InputError(f"fewer than two images among {', '.join(fields)}; {where}")
            votes = tuple(_votes(responses, question, list(references), tally))
            if not votes:
                tally.drop("records without a submitted answer")
                continue
            images = tuple(image_of_reference(each, folder, f"{key} of {name}") for key, each in references.items())
            yield checked_set(RankedSet(checked.prompt_in(fields), images, aggregate(votes, len(images)), votes))


def _found(path: Path) -> dict[str, list[Path]]:
    """The files of records by split, of the first kind of file that exists."""
    if not path.is_dir():
        return {"": [path]} if _is_export(path) else {}
    kinds = ({"": sorted(path.glob(pattern))} for pattern in ("records.json", "*.jsonl", "*.json"))
    records, lines, others = kinds
    for found in (records, lines, files_by_split(path, ".arrow"), files_by_split(path, ".parquet"), others):
        exports = {split: [file for file in files if _is_export(file)] for split, files in found.items()}
        if any(exports.values()):
            return {split: files for split, files in exports.items() if files}
    return {}


def _is_export(file: Path) -> bool:
    if file.suffix in (".parquet", ".arrow") and file.is_file() and not file.name.startswith("cache-"):
        return any(field.name.endswith(".responses") or _answered(field.type) for field in _schema(file))
    first = first_object(file) or {}
    nested = isinstance(first.get("fields"), dict) and "responses" in first
    return nested or any(key.endswith(".responses") or _answered_in_1(value) for key, value in first.items())


def _answered(kind: pa.DataType) -> bool:
    """Whether a column has answers of version 1: a list of structs, or a struct of lists."""
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return pa.types.is_struct(inner) and {inner.field(place).name for place in range(inner.num_fields)} >= _ANSWER


def _schema(file: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            return pq.read_schema(file)
        with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
            return stream.schema
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); download or write it again") from error


def _rows(files: Sequence[Path], tally: Tally) -> Iterator[tuple[str, Any, Path]]:
    """Each record with its name and its folder."""
    for file in files:
        if file.suffix == ".parquet":
            rows = (row for _, row in parquet_rows(file, (), _schema(file)))
        elif file.suffix == ".arrow":
            rows = _arrow_rows(file)
        else:
            rows = (row for _, row in read_table(file, "export", tally))
        for number, row in enumerate(rows):
            number = row.get("id") or number if isinstance(row, dict) else number
            yield f"record {number} of {file}", row, file.parent


def _arrow_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    try:
        with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                batch.validate(full=True)  # Arrow would follow damaged offsets to anywhere in memory
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is damaged ({error}); write it again") from error


def _record(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[_Response]]:
    """The fields and the responses of a record in any of the layouts."""
    if isinstance(row.get("fields"), dict):
        given = row.get("responses")
        if isinstance(given, dict):  # version 2: answers by question
            return row["fields"], [each for name, answers in given.items() for each in _listed(str(name), answers)]
        return row["fields"], [each for answers in _dicts(given) for each in _of_user(answers)]
    fields, responses = {}, []
    for name, value in row.items():
        question, dot, part = name.partition(".responses")
        if dot and not part:
            responses += _columns(question, value, row.get(f"{name}.users"), row.get(f"{name}.status"))
        elif isinstance(value, dict) and value.keys() >= _ANSWER:
            responses += _columns(name, value["value"], value.get("user_id"), value["status"])
        elif any(each.keys() >= _ANSWER for each in _dicts(value)):
            responses += _listed(name, value)
        elif not dot:
            fields[name] = value
    return fields, responses


def _listed(question: str, answers: Any) -> Iterator[_Response]:
    for each in _dicts(answers):
        yield _Response(question, _rater(each.get("user_id")), each.get("value"), each.get("status"))


def _of_user(answers: Mapping[str, Any]) -> Iterator[_Response]:
    """All answers of one user, as version 1 and the server write them."""
    values = answers.get("values")
    for name, each in (values if isinstance(values, dict) else {}).items():
        value = each.get("value") if isinstance(each, dict) else None
        yield _Response(str(name), _rater(answers.get("user_id")), value, answers.get("status"))


def _columns(question: str, values: Any, users: Any, statuses: Any) -> Iterator[_Response]:
    values, users, statuses = (each if isinstance(each, list) else [] for each in (values, users, statuses))
    for place, value in enumerate(values):
        user, status = (each[place] if place < len(each) else None for each in (users, statuses))
        yield _Response(question, _rater(user), value, status)


def _votes(responses: Iterable[_Response], question: str, keys: Sequence[str], tally: Tally) -> Iterator[Vote]:
    for each in responses:
        if each.question != question:
            tally.drop("answers to other questions", int(_is_answer(each, keys)))
            continue
        if each.status not in ("submitted", None):
            tally.drop(f"{each.status} responses")
            continue
        tally.drop("responses without a status, taken as submitted", int(each.status is None))
        ranks = _ranks(each.value, keys)
        if ranks is None:
            raise InputError(f"the answer {each.value!s:.80} names none of the images {', '.join(keys)}; correct it")
        yield Vote(each.rater, ranks)


def _question(files: Sequence[Path], path: Path) -> str:
    """The question with most submitted answers about images; the first of several with equally many."""
    counts: Counter[str] = Counter()
    for _, row, _ in _rows(files, Tally(skip_bad=True)):
        if isinstance(row, dict):
            fields, responses = _record(row)
            keys = list(references_in(fields))
            counts.update(each.question for each in responses if _is_answer(each, keys))
    if not counts:
        raise InputError(f"no response of {path} ranks images or chooses one by its field's name; see docs/data.md")
    return counts.most_common(1)[0][0]


def _is_answer(response: _Response, keys: Sequence[str]) -> bool:
    """Whether a submitted response is about images, whether it is valid or not."""
    try:
        return response.status in ("submitted", None) and _ranks(response.value, keys) is not None
    except InputError:
        return True


def _ranks(value: Any, keys: Sequence[str]) -> tuple[int, ...] | None:
    if len(keys) < 2:
        return None
    if isinstance(value, str):
        return ranks_of_choice([value], keys)
    if isinstance(value, dict) and isinstance(value.get("value"), list):  # a struct of lists
        ranks = value.get("rank")
        ranks = ranks if isinstance(ranks, list) else [None] * len(value["value"])
        value = [{"value": one, "rank": place} for one, place in zip(value["value"], ranks)]
    if not isinstance(value, list) or not value or ranks_of_choice([_name(one) for one in value], keys) is None:
        return None
    groups: dict[int, list[str]] = {}
    for place, one in enumerate(value, 1):
        given = one.get("rank") if isinstance(one, dict) else None
        groups.setdefault(given if isinstance(given, int) else place, []).append(_name(one))
    return ranks_of_order([groups[place] for place in sorted(groups)], keys)


def _name(option: Any) -> str:
    return str(option.get("value") if isinstance(option, dict) else option)


def _rater(user: Any) -> str:
    return "unknown" if user in (None, "", "None") else str(user)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _answered_in_1(value: Any) -> bool:
    return any(each.keys() >= _ANSWER for each in ([value] if isinstance(value, dict) else _dicts(value)))


READER = FormatReader(matches, read, "Argilla's records", splits=True)
