"""Prompt files of every format are read, and bad ones are refused with what is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from palate.core.errors import InputError
from palate.generate.prompts import load_prompts
from palate.world.grammar import unseen_prompts

TWO = ["a cat, sitting", "a “dog”"]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "name, text",
    [
        ("p.txt", "a cat, sitting\n\n  a “dog” \n"),
        ("p.TXT", "\ufeffa cat, sitting\r\na “dog”"),
        ("p.csv", 'id,Prompt\n1,"a cat, sitting"\n2,a “dog”\n'),
        ("p.tsv", "Caption\tNote\na cat, sitting\t\na “dog”\tx\n"),
        ("p.jsonl", "".join(json.dumps({"tag": 1, "prompt": p}) + "\n" for p in TWO)),
        ("p.json", json.dumps(TWO)),
        ("p.json", json.dumps([{"PROMPT": p} for p in TWO])),
    ],
)
def test_every_format_is_read(tmp_path: Path, name: str, text: str, zipped: bool) -> None:
    path = tmp_path / (name + ".gz" * zipped)
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert load_prompts(path) == TWO
    assert load_prompts(str(path), limit=1) == TWO[:1]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_only_line_breaks_separate_the_prompts_of_a_text_file(tmp_path: Path, mark: str) -> None:
    """Python's own `splitlines` splits lines at each of these."""
    text = f"a cat{mark}on a mat\na dog\r\na cow\ra pig"
    (tmp_path / "p.txt").write_bytes(text.encode())
    assert load_prompts(tmp_path / "p.txt") == [f"a cat{mark}on a mat", "a dog", "a cow", "a pig"]
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": f"a cat{mark}on a mat"}, ensure_ascii=False))
    assert load_prompts(tmp_path / "p.jsonl") == [f"a cat{mark}on a mat"]
    (tmp_path / "p.csv").write_bytes(f'prompt,n\na cat{mark}on a mat,1\n"b{mark}",2\n'.encode())
    assert load_prompts(tmp_path / "p.csv")[0] == f"a cat{mark}on a mat"


@pytest.mark.parametrize("name", ["comma.csv", "comma.tsv"])
def test_the_shared_cases_are_refused_by_their_line(shared_cases: Path, name: str) -> None:
    with pytest.raises(InputError, match="line 2 of .*: 2 fields where the header has 1"):
        load_prompts(shared_cases / "prompts" / name)


def test_rows_without_a_prompt_are_skipped_and_other_values_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('[{"prompt": null}, null, "", {"prompt": "a"}, "b"]')
    assert load_prompts(tmp_path / "p.json") == ["a", "b"]
    for wrong in ("[1]", '[{"prompt": ["a"]}]', '[{"prompt": true}]', '["\\ud83d"]', '["a\\u0000"]'):
        (tmp_path / "p.json").write_text(wrong)
        with pytest.raises(InputError, match="row 0 of .*: the prompt is"):
            load_prompts(tmp_path / "p.json")


def test_a_prompt_that_comes_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a\nb\na\n")
    assert load_prompts(tmp_path / "p.txt") == ["a", "b"]


def test_a_folder_of_images_has_the_prompts_of_its_tables_each_once(tmp_path: Path) -> None:
    for shard, prompts in enumerate((["a", " b", ""], ["c", "b"])):
        (tmp_path / f"run/shard-{shard}").mkdir(parents=True)
        rows = [json.dumps({"file_name": f"{i}.png", "prompt": prompt}) for i, prompt in enumerate(prompts)]
        (tmp_path / f"run/shard-{shard}/metadata.jsonl").write_text("\n".join(rows))
    assert load_prompts(tmp_path / "run") == ["a", "b", "c"]
    assert load_prompts(str(tmp_path / "run"), 2) == ["a", "b"]
    assert load_prompts(tmp_path / "run/shard-1/metadata.jsonl") == ["c", "b"]


def test_the_message_on_a_folder_without_prompts_names_palate_caption(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no metadata.jsonl with prompts; `palate caption` writes them"):
        load_prompts(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "prompt": ""}\n')
    with pytest.raises(InputError, match="has no metadata.jsonl with prompts"):
        load_prompts(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "score": 1}\n')
    with pytest.raises(InputError, match=r"metadata\.jsonl has no prompt column, only file_name, score"):
        load_prompts(tmp_path)


def test_the_tiny_world_s_prompts_have_names() -> None:
    assert load_prompts("unseen") == unseen_prompts()
    assert load_prompts("seen", 3) == load_prompts("seen")[:3]
    assert not set(load_prompts("seen")) & set(load_prompts("unseen"))


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("p.txt", b"", "has no prompts in it"),
        ("p.txt", b" \n\n", "has no prompts in it"),
        ("p.csv", b"prompt\n", "has no prompts in it"),
        (
            "p.csv",
            b"prompt\na red square, on grass\n",
            "line 2 of .*: 2 fields where the header has 1, the last ' on grass'",
        ),
        ("p.tsv", b"prompt\nred square\tgreen\n", "line 2 of .*: 2 fields where the header has 1"),
        ("p.csv", b'prompt\n"a cat\na dog\n', "the quote that opens on line 2"),
        ("p.txt", b"a\nb\0c\n", "line 2 of .*: the prompt is 'b.x00c', which contains a NUL"),
        ("p.csv", b"words,id\na,1\n", "has no prompt column, only words, id"),
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt": \n', "line 2 of .* is not JSON"),
        ("p.jsonl", b"a cat\n", "line 1 of .* is not JSON"),
        ("p.json", b'{"prompt": "a"}', "is not a JSON list"),
        ("p.json", b"[1]", "row 0 of .*: the prompt is 1, not text"),
        ("p.txt", b"a\ncaf\xe9", "is not UTF-8: line 2 has the byte 0xe9"),
        ("p.txt.gz", b"not zipped", "cannot be unzipped"),
        ("p.pdf", b"%PDF", "has none of the endings"),
    ],
)
def test_a_bad_prompt_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as error:
        load_prompts(tmp_path / name)
    assert name in str(error.value)


def test_an_unknown_prompt_set_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompt set named 'unsen'; did you mean 'unseen'"):
        load_prompts("unsen")
    (tmp_path / "prompts.txt").write_text("a")
    with pytest.raises(InputError, match="promts.txt' does not exist; did you mean 'prompts.txt'"):
        load_prompts(tmp_path / "promts.txt")


@pytest.mark.parametrize(
    "name, count",
    [
        ("PartiPrompts.tsv", 1632),
        ("drawbench.txt", 200),
        ("geneval_metadata.jsonl", 553),
        ("imagereward_benchmark_prompts.json", 100),
    ],
)
def test_published_prompt_sets_are_read(shared_data: Path, name: str, count: int) -> None:
    prompts = load_prompts(shared_data / "prompts" / name)
    assert count - 5 <= len(prompts) <= count  # some sets repeat a prompt or two
    assert name != "PartiPrompts.tsv" or any(prompt.startswith('"G I G G L E" painted') for prompt in prompts)
    assert load_prompts(shared_data / "prompts" / "gecko_prompts.csv.gz", 1)[0].startswith("Ulvetanna Peak")
