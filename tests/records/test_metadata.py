"""The tables of image folders: every kind is read, and a row is sound or refused by its name."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, image_folder
from PIL import Image

from palate.core.errors import InputError
from palate.generate.prompts import load_prompts
from palate.records.image_folder import ImageRecord, by_prompt, metadata_rows, read_image_folder
from palate.records.jsonlines import JsonLines
from palate.records.tally import Tally
from palate.score.filter import FilterConfig, filter_images
from palate.score.scored import read_summaries
from palate.score.stage import ScoreConfig, score

ROWS = [
    {"file_name": "a.png", "text": "a cat", "seed": 3, "score": 0.5},
    {"file_name": "b.png", "text": "a dog", "seed": None, "score": None},
]


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("a.png", "b.png"):
        (folder / name).write_bytes(encoded())
    return folder


def written(folder: Path, *rows: dict[str, Any] | str) -> Path:
    """A folder with two pictures and a table of rows, or of lines as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (pictures(folder) / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def told(records: list[ImageRecord]) -> list[Any]:
    return [(each.file_name, each.prompt, each.seed, each.row["score"]) for each in records]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_table_is_read_with_a_text_column_for_the_prompt(tmp_path: Path, kind: str) -> None:
    table = pictures(tmp_path) / f"metadata.{kind}"
    if kind == "csv":
        table.write_text("file_name,text,seed,score\na.png,a cat,3,0.5\nb.png,a dog,,\n")
    elif kind == "jsonl":
        table.write_text("\n".join(map(json.dumps, ROWS)))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), table)
    scores = ("0.5", "") if kind == "csv" else (0.5, None)
    assert told(read_image_folder(tmp_path)) == [("a.png", "a cat", 3, scores[0]), ("b.png", "a dog", None, scores[1])]
    assert load_prompts(tmp_path) == ["a cat", "a dog"]


def test_what_datasets_writes_for_an_image_folder_is_read_by_both(tmp_path: Path) -> None:
    import datasets

    pq.write_table(pa.Table.from_pylist(ROWS), pictures(tmp_path / "data") / "metadata.parquet")
    theirs = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert theirs["train"]["text"][:] == [each.prompt for each in read_image_folder(tmp_path / "data")]


def test_two_tables_in_one_folder_are_refused(tmp_path: Path) -> None:
    (written(tmp_path, ROWS[0]) / "metadata.csv").write_text("file_name,text\na.png,a cat\n")
    for read in (read_image_folder, load_prompts):
        with pytest.raises(InputError, match="has both metadata.jsonl and metadata.csv; keep one"):
            read(tmp_path)


def test_captions_may_end_in_caption_and_two_that_differ_are_a_bad_row(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    for name, text in (("a.caption", "a cat\n"), ("b.txt", "a dog"), ("c.txt", "a cow"), ("c.caption", " a  cow")):
        (tmp_path / name).write_text(text)
    assert [each.prompt for each in read_image_folder(tmp_path)] == ["a cat", "a dog", "a cow"]
    (tmp_path / "c.caption").write_text("a calf")
    with pytest.raises(InputError, match=r"c\.png: its captions c\.txt and c\.caption differ"):
        read_image_folder(tmp_path)
    tally = Tally(skip_bad=True)
    assert (len(read_image_folder(tmp_path, tally)), len(tally.bad)) == (2, 1)


@pytest.mark.parametrize(
    "row, complaint",
    [
        ({"prompt_index": None}, "the prompt_index is missing, not a whole number"),
        ({"prompt_index": -1}, "the prompt_index is -1, and must be from 0"),
        ({"image_index": "x"}, "the image_index is 'x', not a whole number"),
        ({"seed": 1.5}, "the seed is 1.5, not a whole number"),
        ({"seed": 2**63}, "the seed is 9223372036854775808, and must be from"),
        ({"seed": True}, "the seed is True, not a whole number"),
        ({"model": ["a"]}, r"the model is \['a'\]"),
        ({"file_name": None}, "the file_name is missing, not text"),
        ({"file_name": "../a.png"}, r"the file_name is '\.\./a.png', which is outside of"),
        ({"file_name": "/etc/a.png"}, "the file_name is '/etc/a.png', which is outside of"),
        ({"file_name": "."}, "the image .* is a folder"),
        ({"prompt": ["a cat"]}, r"the prompt is \['a cat'\], not text"),
        ({"prompt": float("nan")}, "the prompt is NaN, not text"),
        ({"prompt": "a\0b"}, "which contains a NUL character"),
        ('{"file_name": "b.png", "prompt": "cat \\ud83d"}', r"the prompt is 'cat \\ud83d', which has a lone surrogate"),
        ('{"file_name": "b.png", "prompt": "cat", "note": ["\\ud83d"]}', "the row's note is .* a lone surrogate"),
        ('{"file_name": "b.png", "prompt": "cat", "\\ud83d": 1}', "a name in the row is .* a lone surrogate"),
        ('{"file_name": "b.png", "prompt": "cat", "prompt": "dog"}', "the key 'prompt' occurs twice"),
        ('{"file_name": "b.png", "prompt": "cat"', "is not JSON"),
        ("[1]", "not a JSON object"),
    ],
)
def test_a_bad_row_is_refused_by_its_line_or_left_out_and_counted(tmp_path: Path, row: Any, complaint: str) -> None:
    sound = {"file_name": "a.png", "prompt": "a cat", "seed": 2.0}
    bad = row if isinstance(row, str) else {"file_name": "b.png", "prompt": "a dog", **row}
    written(tmp_path, sound, bad)
    with pytest.raises(InputError, match=f"line 2 of .*metadata.jsonl.*{complaint}.*; --skip-bad leaves such rows out"):
        read_image_folder(tmp_path, Tally())
    with pytest.raises(InputError, match=complaint) as error:
        read_image_folder(tmp_path)
    assert "--skip-bad" not in str(error.value)  # a reader without such a flag does not name it
    tally = Tally(skip_bad=True)
    (kept,) = read_image_folder(tmp_path, tally)
    assert (kept.file_name, kept.seed, type(kept.seed), len(tally.bad)) == ("a.png", 2, int, 1)


def test_a_folder_in_which_every_row_is_bad_is_refused(tmp_path: Path) -> None:
    written(tmp_path, {"file_name": "z.png", "prompt": "a"}, {"file_name": "y.png", "prompt": "a"})
    with pytest.raises(
        InputError, match="has no undamaged image, but 2 bad rows; the first: line 1 of .*z.png does not"
    ):
        read_image_folder(tmp_path, Tally(skip_bad=True))


def test_values_that_no_json_has_are_kept_as_what_it_has(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "prompt": "a", "x": float("nan"), "made": datetime.date(2026, 1, 2), "n": 1 << 60}]
    pq.write_table(pa.Table.from_pylist(rows), pictures(tmp_path) / "metadata.parquet")
    (record,) = read_image_folder(tmp_path)
    assert record.row == {"file_name": "a.png", "prompt": "a", "x": None, "made": "2026-01-02", "n": 1 << 60}
    JsonLines(tmp_path / "copy.jsonl").replace([dict(record.row)])


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    (pictures(tmp_path) / "metadata.jsonl").write_text('\ufeff{"file_name": "a.png", "prompt": "a"}\n', "utf-8")
    assert [each.prompt for each in read_image_folder(tmp_path)] == load_prompts(tmp_path) == ["a"]


def test_metadata_that_is_not_utf8_is_refused_by_its_line(tmp_path: Path) -> None:
    (pictures(tmp_path) / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "prompt": "caf\xe9"}\n')
    for read in (read_image_folder, load_prompts):
        with pytest.raises(InputError, match="is not UTF-8: line 1 has the byte 0xe9"):
            read(tmp_path)


@pytest.mark.parametrize("where", ["", "shard-0-of-2"])
def test_only_a_run_of_our_own_may_end_in_a_line_that_was_cut(tmp_path: Path, where: str) -> None:
    image_folder(tmp_path / where, ["a", "b"])
    table = tmp_path / where / "metadata.jsonl"
    table.write_text(table.read_text()[:-9])
    with pytest.raises(InputError, match="line 2 of .* is not JSON"):
        read_image_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("learning_rate: 1\n")  # of somebody else's program
    with pytest.raises(InputError, match="line 2 of .* is not JSON"):
        read_image_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("stage: generate\npalate: '0'\n")
    assert [each.prompt for each in read_image_folder(tmp_path)] == ["a"]


def test_images_of_a_prompt_belong_together_whatever_their_prompt_index(tmp_path: Path) -> None:
    rows = [{"file_name": name, "prompt": "p", "prompt_index": i} for i, name in enumerate(("b.png", "a.png"))]
    assert [len(group) for group in by_prompt(read_image_folder(written(tmp_path, *rows)))] == [2]


def test_folders_and_links_that_are_called_like_files_are_passed_by(tmp_path: Path) -> None:
    written(tmp_path, {"file_name": "a.png", "prompt": "a"})
    (tmp_path / "sub").mkdir()
    for name in ("metadata.csv", "metadata.jsonl", "x.png"):
        (tmp_path / "sub" / name).mkdir()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert len(read_image_folder(tmp_path)) == len(metadata_rows(tmp_path)) == 1
    (tmp_path / "metadata.jsonl").unlink()
    assert len(read_image_folder(tmp_path, unprompted=True)) == 2


def test_a_column_of_a_csv_is_one_of_numbers_where_all_its_text_is(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("0.png", "1.png"):
        (folder / name).write_bytes(encoded())
    (folder / "metadata.csv").write_text("file_name,text,aesthetic\n0.png,1984,6.5\n1.png,7,4\n")
    run = filter_images(FilterConfig(images=folder, at_least=6, out=tmp_path / "run"))
    assert JsonLines(run / "metadata.jsonl").read() == [
        {"file_name": "0.png", "text": "1984", "prompt": "1984", "aesthetic": 6.5}
    ]


CASES: dict[str, str | int] = {
    "latin1": "is not UTF-8: line 1",
    "last_line_bad": "line 3 of .* is not JSON",
    "bom": 2,
    "surrogate": "a lone surrogate",
    "prompt_index_null": "line 1 of .*prompt_index is missing",
    "image_index_str": "line 1 of .*image_index is 'x'",
    "seed_big": "line 1 of .*seed is 9223372036854775808",
    "seed_float": "line 1 of .*seed is 1.5",
    "prompt_index_each_its_own": 3,
}


@pytest.mark.parametrize("case", CASES)
def test_the_shared_cases_are_read_or_refused(shared_cases: Path, case: str) -> None:
    expected = CASES[case]
    if isinstance(expected, int):
        assert [len(group) for group in by_prompt(read_image_folder(shared_cases / "metadata" / case))] == [expected]
    else:
        with pytest.raises(InputError, match=expected):
            read_image_folder(shared_cases / "metadata" / case)


def test_a_grey_ramp_of_16_bits_is_half_as_bright_as_white(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).round().astype(np.uint16), (64, 1))
    (tmp_path / "images").mkdir()
    Image.fromarray(ramp).save(tmp_path / "images" / "a.png")
    run = score(ScoreConfig(images=tmp_path / "images", scorer=("image:brightness",), out=tmp_path / "run"))
    assert read_summaries(run)["image:brightness"].mean == pytest.approx(0.5, abs=0.002)


def test_the_shared_ramp_is_half_as_bright_as_white(shared_cases: Path, tmp_path: Path) -> None:
    run = score(ScoreConfig(images=shared_cases / "gray16", scorer=("image:brightness",), out=tmp_path / "run"))
    assert read_summaries(run)["image:brightness"].mean == pytest.approx(0.5, abs=0.002)
