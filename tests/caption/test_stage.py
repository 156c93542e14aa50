"""Every image is captioned once, also in an interrupted run; images without a caption are named or counted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from caption.llava import random_llava
from pictures import encoded, image_folder
from PIL import Image

from palate.caption import captioner
from palate.caption.stage import CaptionConfig, caption
from palate.cli.main import main
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.core.seeds import numpy_generator
from palate.generate.prompts import load_prompts
from palate.records.image_folder import read_image_folder
from palate.records.jsonlines import JsonLines
from palate.world.grammar import WorldCombination
from palate.world.renderer import render_scenes, scene

COLOURS = {(255, 0, 0): "red", (0, 128, 0): "green", (0, 0, 255): "blue", (0, 0, 0): ""}


class Namer:
    """Captions a picture with its colour, and a black one with nothing."""

    no_caption_reason = "black has no name here"

    def __init__(self) -> None:
        self.shown: list[int] = []

    def fingerprint(self) -> str:
        return "namer"

    def __call__(self, images: Sequence[Image.Image]) -> list[str]:
        self.shown.append(len(images))
        return [COLOURS[image.getpixel((0, 0))] for image in images]  # pyright: ignore[reportArgumentType]


@pytest.fixture
def namer(monkeypatch: pytest.MonkeyPatch) -> Namer:
    made = Namer()
    monkeypatch.setattr(captioner, "load_captioner", lambda *_: made)
    return made


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., CaptionConfig]:
    values = {"images": tmp_path / "images", "captioner": "namer", "out": tmp_path / "run", "batch": 1}
    return lambda **changes: CaptionConfig(**values | changes)


def plain_folder(folder: Path, *colours: str) -> Path:
    folder.mkdir()
    for number, colour in enumerate(colours):
        (folder / f"{number}.png").write_bytes(encoded(colour))
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def captions(run: Path) -> dict[str, str]:
    return {row["file_name"]: row["prompt"] for row in JsonLines(run / "metadata.jsonl").read()}


@pytest.mark.usefixtures("namer")
def test_the_run_is_an_image_folder_whose_prompts_are_the_captions(config, tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", ["a cat", "a dog", "a cat"])
    run = caption(config())
    rows = JsonLines(run / "metadata.jsonl").read()
    assert [(row["file_name"], row["prompt"], row["caption_of"]) for row in rows] == [
        ("images/0.png", "red", "a cat"),
        ("images/2.png", "blue", "a cat"),
        ("images/1.png", "green", "a dog"),
    ]
    records = read_image_folder(run)
    assert sorted((record.prompt, record.file_name) for record in records) == [
        ("blue", "images/2.png"),
        ("green", "images/1.png"),
        ("red", "images/0.png"),
    ]
    assert all((images / each.file_name).samefile(run / each.file_name) for each in records)
    assert RunFolder(run).finished == {"images": 3, "captions": 3}


@pytest.mark.usefixtures("namer")
def test_a_folder_of_image_files_alone_is_captioned_and_generated_from(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "red", "blue", "red")
    run = caption(config())
    row = JsonLines(run / "metadata.jsonl").read()[1]
    assert row == {"file_name": "1.png", "prompt": "blue", "sha256": sha256(tmp_path / "images/1.png")}
    assert load_prompts(run) == load_prompts(run / "metadata.jsonl") == ["red", "blue"]


@pytest.mark.usefixtures("namer")
def test_an_image_that_a_table_names_twice_is_captioned_once(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "red")
    rows = [{"file_name": "0.png", "prompt": prompt} for prompt in ("a cat", "a dog")]
    JsonLines(tmp_path / "images/metadata.jsonl").replace(rows)
    assert captions(caption(config())) == {"0.png": "red"}


def test_an_interrupted_run_captions_only_what_is_left(config, tmp_path: Path, namer: Namer) -> None:
    plain_folder(tmp_path / "images", "red", "green", "blue", "red")
    run = caption(config(batch=2))
    whole = (run / "metadata.jsonl").read_bytes()
    (run / "summary.json").unlink()
    (run / "metadata.jsonl").write_bytes(whole[: whole.index(b"\n") + 10])
    (run / "0.png").unlink()  # a line without its image
    namer.shown.clear()
    assert caption(config(batch=5)) == run
    assert namer.shown == [3]
    assert (run / "metadata.jsonl").read_bytes() == whole
    assert sorted(path.name for path in run.glob("*.png")) == ["0.png", "1.png", "2.png", "3.png"]
    assert RunFolder(run).finished == {"images": 4, "captions": 4}
    caption(config())
    assert namer.shown == [3]  # a finished run has nothing left


@pytest.mark.usefixtures("namer")
@pytest.mark.parametrize("moment", ["before a link", "after a link"])
def test_a_run_that_dies_at_a_link_ends_the_same(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    plain_folder(tmp_path / "images", "red", "green", "blue")
    undisturbed, link, links = caption(config(out=tmp_path / "undisturbed")), os.link, []

    def dying(source: Path, target: Path) -> None:
        links.append(target)
        if len(links) < 2 or moment == "after a link":
            link(source, target)
        if len(links) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", dying)
        with pytest.raises(KeyboardInterrupt):
            caption(config())
    assert captions(tmp_path / "run") == {"0.png": "red"}
    run = caption(config())
    assert (run / "metadata.jsonl").read_bytes() == (undisturbed / "metadata.jsonl").read_bytes()


def test_an_image_without_a_caption_is_named(config, tmp_path: Path, namer: Namer) -> None:
    plain_folder(tmp_path / "images", "black", "red")
    with pytest.raises(
        InputError, match=r"images/0\.png: it has no caption: black has no name here; --skip-bad leaves"
    ):
        caption(config())
    assert not (tmp_path / "run").exists()  # and so is free for another captioner
    run = caption(config(skip_bad=True))
    assert captions(run) == {"1.png": "red"}
    assert [path.name for path in run.glob("*.png")] == ["1.png"]
    assert RunFolder(run).finished == {"images": 2, "captions": 1, "bad rows": 1}


@pytest.mark.usefixtures("namer")
def test_captions_before_an_error_are_kept_and_skip_bad_continues(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "red", "black", "blue")
    with pytest.raises(InputError, match=r"1\.png: it has no caption"):
        caption(config())
    assert captions(tmp_path / "run") == {"0.png": "red"}
    assert captions(caption(config(skip_bad=True))) == {"0.png": "red", "2.png": "blue"}


@pytest.mark.usefixtures("namer")
def test_a_folder_without_any_caption_is_refused(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "black", "black")
    with pytest.raises(InputError, match="none of the 2 images has a caption: black has no name here"):
        caption(config(skip_bad=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("namer")
def test_bad_input_is_refused_before_anything_is_written(config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image folder .*images' does not exist"):
        caption(config())
    images = plain_folder(tmp_path / "images", "red", "green")
    with pytest.raises(InputError, match="is in .*images and would be read as a part of it"):
        caption(config(out=images / "captions"))
    (images / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.png is empty.*--skip-bad"):
        caption(config())
    assert not (tmp_path / "run").exists()
    assert RunFolder(caption(config(skip_bad=True))).finished == {"images": 1, "captions": 1, "bad rows": 1}
    with pytest.raises(RunFolderError, match="question: Describe this image in one sentence. there, What is it. now"):
        caption(config(question="What is it?", skip_bad=True))


def test_a_captioner_that_is_not_there_is_refused_before_anything_is_written(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "red")
    with pytest.raises(InputError, match="cannot load the captioner 'nobody'"):
        caption(config(captioner="nobody"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["batch", "max_new_tokens"])
def test_a_number_below_one_is_refused(config, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above zero, not 0"):
        config(**{name: 0})


def test_the_message_on_foreign_pictures_says_what_the_teacher_reads(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "red")
    with pytest.raises(
        InputError, match=r"0\.png: it has no caption: the teacher .* is not a 64 x 64 picture of the tiny"
    ):
        caption(config(captioner="teacher"))


def test_a_llava_captions_a_folder(config, tmp_path: Path) -> None:
    plain_folder(tmp_path / "images", "red", "green", "white")
    llava = str(random_llava(tmp_path / "llava"))
    run = caption(config(captioner=llava, question="What is it ?", max_new_tokens=5, batch=2))
    said = captioner.load_captioner(llava, "What is it ?", 5)
    images = [Image.open(tmp_path / f"images/{number}.png") for number in range(3)]
    assert list(captions(run).values()) == said(images)


def test_the_command_prints_the_count_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown, out = WorldCombination(3, "red", "star", "blue"), str(tmp_path / "run")
    (pixels,) = render_scenes([scene(shown, numpy_generator(0, "caption-test"))])
    (tmp_path / "images").mkdir()
    Image.fromarray((pixels.permute(1, 2, 0) * 255).byte().numpy()).save(tmp_path / "images/star.png")
    assert main(["caption", "--images", str(tmp_path / "images"), "--captioner", "teacher", "--out", out]) == 0
    count, following = capsys.readouterr().out.splitlines()
    assert count == f"1 of 1 images have a caption in {out}"
    assert following == f"next: palate generate --model MODEL --prompts {out} --out {out}-generated"
    assert load_prompts(out) == ["three red stars on a blue background"]
