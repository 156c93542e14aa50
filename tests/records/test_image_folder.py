"""An ImageFolder is read by prompt, its shards as one, every image is looked at, and may be linked elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pictures import encoded, image_folder

from palate.core.errors import InputError, PalateError
from palate.records.image_folder import IMAGE_ENDINGS, by_prompt, link_images, read_image_folder, require_linkable
from palate.records.tally import Tally


def test_records_come_by_prompt_and_image(tmp_path: Path) -> None:
    records = read_image_folder(image_folder(tmp_path, ["a", "b", "a"]))
    assert [(r.prompt, r.image_index, r.file_name) for r in records] == [
        ("a", 0, "images/0.png"),
        ("a", 1, "images/2.png"),
        ("b", 0, "images/1.png"),
    ]
    assert [len(group) for group in by_prompt(records)] == [2, 1]
    assert (records[1].seed, records[1].model) == (2, "some-model")


def test_shards_are_one_folder(tmp_path: Path) -> None:
    image_folder(tmp_path / "shard-0-of-2", ["a"])
    image_folder(tmp_path / "shard-1-of-2", ["b"])
    names = {record.file_name for record in read_image_folder(tmp_path)}
    assert names == {"shard-0-of-2/images/0.png", "shard-1-of-2/images/0.png"}


def test_a_folder_of_other_making_needs_only_file_names_and_prompts(tmp_path: Path) -> None:
    rows = [("x.png", "a"), ("y.png", "b"), ("z.png", "a")]
    for name, _ in rows:
        (tmp_path / name).write_bytes(encoded())
    lines = [f'{{"file_name": "{name}", "prompt": "{prompt}"}}' for name, prompt in rows]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    records = read_image_folder(tmp_path)
    assert [(r.file_name, r.prompt_index, r.image_index, r.seed) for r in records] == [
        ("x.png", 0, 0, None),
        ("z.png", 0, 1, None),
        ("y.png", 1, 0, None),
    ]


@pytest.mark.parametrize("data, complaint", [(b"", "is empty"), (b"x", "cannot be decoded"), (None, "does not exist")])
def test_a_bad_image_is_refused_by_name_or_skipped_and_counted(
    tmp_path: Path, data: bytes | None, complaint: str
) -> None:
    image_folder(tmp_path, ["a", "a", "b"])
    (tmp_path / "images/1.png").unlink()
    if data is not None:
        (tmp_path / "images/1.png").write_bytes(data)
    with pytest.raises(InputError, match=rf"line 2 of .*metadata.jsonl, image .*images/1\.png {complaint}.*--skip-bad"):
        read_image_folder(tmp_path, Tally())
    tally = Tally(skip_bad=True)
    assert len(read_image_folder(tmp_path, tally)) == 2
    assert tally.summary() == {"bad rows": 1}


def test_folders_without_images_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lists no image"):
        read_image_folder(tmp_path)
    with pytest.raises(InputError, match="image folder .*nowhere' does not exist"):
        read_image_folder(tmp_path / "nowhere")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "words": "a cat"}\n')
    with pytest.raises(InputError, match="no prompt or caption or text among file_name, words; write one, or use"):
        read_image_folder(tmp_path)


def test_a_record_keeps_all_that_the_folder_says_of_it(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded())
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "x.png", "prompt": "a", "aesthetic": 6.5}\n')
    (record,) = read_image_folder(tmp_path)
    assert record.row == {"file_name": "x.png", "prompt": "a", "aesthetic": 6.5}


def test_a_folder_of_image_files_alone_is_read_where_no_prompt_is_needed(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".trash").mkdir()
    for name in ("c.JPG", "b/x.webp", "a.png", ".hidden.png", ".trash/y.png"):
        kind = {".jpg": "JPEG", ".webp": "WEBP"}.get(Path(name).suffix.lower(), "PNG")
        (tmp_path / name).write_bytes(encoded(kind=kind))
    (tmp_path / "notes.txt").write_text("a cat")
    with pytest.raises(InputError, match="has images and no prompts: .*`palate caption`"):
        read_image_folder(tmp_path)
    records = read_image_folder(tmp_path, unprompted=True)
    assert [(r.file_name, r.prompt, r.image_index) for r in records] == [
        ("a.png", "", 0),
        ("b/x.webp", "", 1),
        ("c.JPG", "", 2),
    ]


def test_a_text_beside_an_image_is_its_prompt(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(encoded())
        (tmp_path / name).with_suffix(".txt").write_text("a red\n  star\n" if name != "b.png" else "zwölf Boxkämpfer")
    records = read_image_folder(tmp_path)
    assert [(r.file_name, r.prompt) for r in records] == [
        ("a.png", "a red star"),
        ("c.png", "a red star"),
        ("b.png", "zwölf Boxkämpfer"),
    ]
    (tmp_path / "b.txt").unlink()
    with pytest.raises(InputError, match=r"b\.png.*no prompt or caption or text"):
        read_image_folder(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"caption .*b\.txt"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_files_of_every_usual_format_count_as_images(tmp_path: Path, kind: str) -> None:
    endings = {"JPEG": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff")}.get(kind, (f".{kind.lower()}",))
    for ending in endings:
        assert ending in IMAGE_ENDINGS
        (tmp_path / f"x{ending}").write_bytes(encoded(kind=kind))
    assert len(read_image_folder(tmp_path, unprompted=True)) == len(endings)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "config.yaml"])
def test_image_files_whose_table_cannot_be_read_are_not_taken_without_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / name).write_text("stage: generate\npalate: '0'\n" if name == "config.yaml" else "")
    with pytest.raises(InputError, match="lists no image: .*; give a folder with one, or of image files alone"):
        read_image_folder(tmp_path, unprompted=True)


def test_rows_without_a_prompt_are_read_where_none_is_needed(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(encoded())
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "x.png"}\n{"file_name": "y.png", "prompt": "a"}\n')
    assert [(r.file_name, r.prompt) for r in read_image_folder(tmp_path, unprompted=True)] == [
        ("x.png", ""),
        ("y.png", "a"),
    ]
    (tmp_path / "metadata.jsonl").write_text('{"prompt": "a"}\n')
    with pytest.raises(InputError, match="the file_name is missing, not text"):
        read_image_folder(tmp_path, unprompted=True)


def test_images_are_linked_under_their_names_once(tmp_path: Path) -> None:
    records, out = read_image_folder(image_folder(tmp_path / "images", ["a", "b"])), tmp_path / "out"
    link_images(records[:1], out)
    link_images(records, out)
    assert all((out / r.file_name).samefile(tmp_path / "images" / r.file_name) for r in records)
    (out / "images/0.png").unlink()
    (out / "images/0.png").write_bytes(b"there already")
    link_images(records, out)
    assert (out / "images/0.png").read_bytes() == b"there already"


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """As in the hub's cache, whose links would lead nowhere from another folder."""
    (tmp_path / "blob").write_bytes(encoded())
    (tmp_path / "images").mkdir()
    (tmp_path / "images/x.png").symlink_to("../blob")
    link_images(read_image_folder(tmp_path / "images", unprompted=True), tmp_path / "elsewhere/out")
    assert (tmp_path / "elsewhere/out/x.png").read_bytes() == encoded()
    assert not (tmp_path / "elsewhere/out/x.png").is_symlink()


def test_images_are_copied_where_no_link_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    records = read_image_folder(image_folder(tmp_path / "images", ["a"]))
    link_images(records, tmp_path / "out")
    assert (tmp_path / "out/images/0.png").read_bytes() == (tmp_path / "images/images/0.png").read_bytes()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PalateError, match="cannot write .*file"):
        link_images(records, tmp_path / "file")


def test_images_cannot_be_linked_among_themselves(tmp_path: Path) -> None:
    records, inside = read_image_folder(image_folder(tmp_path / "images", ["a"])), tmp_path / "images/best"
    require_linkable(records, tmp_path / "images", tmp_path / "images-best")
    with pytest.raises(InputError, match="is in .*images and would be read as a part of it"):
        require_linkable(records, tmp_path / "images", inside)
