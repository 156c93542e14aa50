"""`palate collect new`: the comparisons, pictures without metadata, and a study that is complete or absent."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from collect.database import KEYED, PASSWORD, answer_next, drawn, noise, ranked, rows, small_config, standing_votes
from PIL import Image, ImageCms, PngImagePlugin
from sqlalchemy import select

from palate.collect import new
from palate.collect.config import StudyConfig
from palate.collect.database import PASSWORD as FILE
from palate.collect.database_rows import ImageRow, ItemRow
from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study
from palate.core.errors import InputError
from palate.core.runs import RunFolder, RunFolderError

SEVERAL = ["a cat"] * 3 + ["a dog"] * 2 + ["a fox"]
ONCE = ["a cat", "a dog", "a fox"]


def asked(study: OpenStudy, purpose: str = "real") -> list[tuple[str, str]]:
    """The items of a study: the prompts, and the systems by place."""
    with study.database.read() as session:
        systems = {image.id: image.system for image in session.scalars(select(ImageRow))}
        found = session.scalars(select(ItemRow).where(ItemRow.purpose == purpose)).all()
        return sorted((item.prompt, " ".join(systems[number] for number in item.images)) for item in found)


def summary(study: OpenStudy) -> dict[str, int]:
    return json.loads((study.folder / "summary.json").read_text())


def refuse(tmp_path: Path, words: str, **changes: object) -> None:
    """A study that is refused leaves nothing."""
    config = small_config(tmp_path / f"study-{len(list(tmp_path.iterdir()))}", 3, None, **changes)
    with pytest.raises(InputError, match=words):
        new_study(config)
    assert not config.out.exists()


def test_images_of_one_prompt_and_number_are_compared_across_folders(study, tmp_path):
    images = tuple(f"{name}={drawn(tmp_path / name, SEVERAL, name)}" for name in ("x", "y", "z"))
    study = study(images=images)
    assert asked(study) == sorted((prompt, pair) for prompt in SEVERAL for pair in ("x y", "x z", "y z"))
    assert summary(study)["real items"] == 18 and summary(study)["images"] == 18


def test_images_of_one_prompt_are_compared_within_one_folder(study, tmp_path):
    study = study(images=(str(drawn(tmp_path / "run", SEVERAL, "run")),))
    assert asked(study) == [("a cat", "run run")] * 3 + [("a dog", "run run")]
    assert summary(study)["groups with too few images"] == 1
    assert rows(study, "SELECT seed FROM image ORDER BY seed") == [(0,), (0,), (1,), (1,), (2,)]


def test_the_images_of_a_prompt_that_occurs_twice_in_a_folder_are_not_compared_with_each_other(study, tmp_path):
    folders = [drawn(tmp_path / name, ["a cat", "a cat"], name) for name in ("x", "y")]
    for folder in folders:
        table = (folder / "metadata.jsonl").read_text().replace('"image_index": 1', '"image_index": 0')
        (folder / "metadata.jsonl").write_text(table)
    study = study(images=tuple(map(str, folders)))
    assert asked(study) == [("a cat", "x y")] * 2


@pytest.mark.parametrize(
    "task, n, wanted", [("best", 3, 2), ("ranking", 2, 3), ("rating", None, 7), ("pairwise", None, 9)]
)
def test_every_task_makes_items_of_its_own_size(study, tmp_path, task, n, wanted):
    study = study(images=(str(drawn(tmp_path / "run", ["a cat"] * 3 + ["a dog"] * 4, "run")),), task=task, n=n)
    assert study.counts()["real items"] == wanted
    with study.database.read() as session:
        assert {len(images) for images in session.scalars(select(ItemRow.images))} == {study.config.per_screen}
    left = {"best": 1, "ranking": 1}.get(task)
    assert summary(study).get("images left over") == left


def test_the_images_of_ranked_sets_are_compared_again(study, tmp_path):
    study = study(preferences=ranked(tmp_path, "sets", 4, (1, 2, 2)), task="ranking", n=3)
    assert asked(study) == [(f"sets {number}", "system 0 system 1 system 2") for number in range(4)]


def test_gold_has_its_answer_and_sets_without_one_are_counted(study, tmp_path):
    gold = ranked(tmp_path, "gold", 3, (2, 1))
    study = study(items=2, gold=gold)
    assert len(asked(study, "gold")) == 3 and len(asked(study)) == 2
    with study.database.read() as session:
        assert session.scalars(select(ItemRow.answer).where(ItemRow.purpose == "gold")).all() == [[2, 1]] * 3
        assert session.scalar(select(ItemRow.id).where(ItemRow.purpose == "real", ItemRow.answer.is_not(None))) is None


def test_a_limit_draws_items_at_random_and_reproducibly(study):
    small, same = study(items=12, limit=5), study(items=12, limit=5)
    other, whole = study(items=12, limit=5, seed=1), study(items=12)
    assert asked(small) == asked(same) != asked(other)
    assert len(asked(small)) == 5 and set(asked(small)) < set(asked(whole)) and len(asked(whole)) == 12


def test_live_mode_begins_without_items(study):
    assert study(live="tiny-sd").counts() == {"images": 0, "raters": 3}


def test_images_or_sets_that_cannot_be_compared_are_refused_and_leave_no_files(tmp_path):
    once, twice = str(drawn(tmp_path / "a" / "run", ONCE, "x")), str(drawn(tmp_path / "b" / "run", ONCE, "y"))
    refuse(tmp_path, "nothing to compare", images=(once,))
    refuse(tmp_path, "distinct names", images=(once, twice))
    refuse(tmp_path, "distinct names", images=(f"me={once}", f"me={twice}"))
    refuse(tmp_path, "nothing to compare", images=(once, f"same={once}"))  # the same files under two names
    refuse(tmp_path, "does not exist", images=(str(tmp_path / "nowhere"),))
    refuse(tmp_path, "no preferences at", preferences=str(tmp_path / "nowhere"))
    refuse(tmp_path, "no ranking of 2 images that could be gold", gold=ranked(tmp_path, "ties", 2, (1, 1)))
    refuse(tmp_path, "no ranking of 2 images that could be gold", gold=ranked(tmp_path, "threes", 2, (1, 2, 3)))


def test_a_comparison_of_an_image_with_itself_is_left_out_and_counted(study, tmp_path):
    folders = [drawn(tmp_path / name, ONCE, name) for name in ("x", "y")]
    (folders[1] / "0.png").write_bytes((folders[0] / "0.png").read_bytes())
    study = study(images=tuple(map(str, folders)))
    assert asked(study) == [("a dog", "x y"), ("a fox", "x y")]
    assert summary(study)["comparisons of an image with itself"] == 1


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_a_broken_image_stops_or_is_left_out_and_counted(study, tmp_path, damage):
    folders = [drawn(tmp_path / name, ONCE, name) for name in ("x", "y")]
    (folders[1] / "2.png").write_bytes(damage) if damage is not None else (folders[1] / "2.png").unlink()
    images = tuple(map(str, folders))
    refuse(tmp_path, "2.png", images=images)
    study = study(images=images, skip_bad=True)
    assert asked(study) == [("a cat", "x y"), ("a dog", "x y")]
    assert (summary(study)["bad rows"], summary(study)["groups with too few images"]) == (1, 1)


def test_a_study_that_is_interrupted_while_it_is_made_leaves_no_files(tmp_path, new_database, monkeypatch):
    config = small_config(tmp_path / "study", 3, new_database())
    write, calls = new.picture_of, []

    def failing(image: Image.Image, size: tuple[int, int]) -> object:
        calls.append(size)
        if len(calls) == 3:
            raise InputError("the image vanished")
        return write(image, size)

    monkeypatch.setattr(new, "picture_of", failing)
    with pytest.raises(InputError, match="vanished"):
        new_study(config)
    assert not config.out.exists()
    assert new_study(config).counts["real items"] == 3  # the folder and the database are free


@pytest.mark.parametrize("when", ["while it draws", "before it says so"])
def test_after_a_kill_the_same_command_completes_the_study(tmp_path, new_database, monkeypatch, when):
    config = small_config(tmp_path / "study", 3, new_database())
    place, name = (new, "add_item") if when == "while it draws" else (RunFolder, "finish")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

        def kill(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(place, name, kill)
        new_study(config)
    if when == "while it draws":
        with pytest.raises(InputError, match="holds no study; run `palate collect new` again"):
            open_study(config.out)
    else:  # it can be served by now, and nothing of that is lost
        begun = open_study(config.out)
        begun.add_rater("ann")
        answer_next(begun, 1)
        begun.close()
    made = new_study(config)
    study = open_study(made.folder)
    assert study.counts()["real items"] == 3 and study.is_owner(made.owner)
    assert len(standing_votes(study)) == (when != "while it draws")
    study.close()


def test_a_folder_and_a_database_each_hold_only_one_study(tmp_path, new_database):
    config = small_config(tmp_path / "study", 3, new_database())
    new_study(config)
    with pytest.raises(InputError, match="holds a study already; `palate collect serve"):
        new_study(config)
    with pytest.raises(RunFolderError, match="limit"):
        new_study(StudyConfig(**{**config.__dict__, "limit": 2}))
    if config.database:
        with pytest.raises(InputError, match="the database holds a study already"):
            new_study(StudyConfig(**{**config.__dict__, "out": tmp_path / "other"}))
        assert not (tmp_path / "other").exists()
    study = open_study(config.out)
    assert study.counts()["real items"] == 3
    study.close()


def test_an_unreachable_database_leaves_no_files_and_shows_no_password(tmp_path):
    config = small_config(tmp_path / "study", 3, "postgresql://ann:hush@127.0.0.1:1/study")
    with pytest.raises(InputError, match="cannot be opened .*check its URL") as caught:
        new_study(config)
    assert "hush" not in str(caught.value) and not config.out.exists()


@pytest.mark.parametrize("place", ["host", "query"])
def test_a_password_is_in_no_configuration_but_the_study_can_still_be_opened(tmp_path, postgresql, place):
    bare, quoted = postgresql.new(empty=True).replace("postgres@", f"{KEYED}@"), quote(PASSWORD, safe="")
    url = bare.replace("@", f":{quoted}@", 1) if place == "host" else f"{bare}&password={quoted}"
    config = small_config(tmp_path / "study", 3, url)
    new_study(config)
    study = open_study(config.out)
    assert study.counts()["real items"] == 3
    (kept,) = rows(study, "SELECT CAST(config AS text) FROM study")
    told = str(kept) + (config.out / "config.yaml").read_text()
    assert PASSWORD not in told and quoted not in told and f"{KEYED}@" in told
    assert (config.out / FILE).stat().st_mode & 0o777 == 0o600
    study.close()
    (config.out / FILE).unlink()
    with pytest.raises(InputError, match="password"):
        open_study(config.out)


def telling(folder: Path) -> tuple[str, str]:
    """Two runs with one picture each of the same prompt, whose files have all kinds of metadata."""
    one, two = drawn(folder / "one", ["a cat"], "one", (16, 12)), drawn(folder / "two", ["a cat"], "two", (24, 24))
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, Steps: 20, Model: secret-model")
    text.add_itxt("prompt", "secret-model")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    seen = noise(1, "one", (16, 12)).convert("RGBA")
    seen.putalpha(128)
    seen.save(one / "0.png", pnginfo=text, icc_profile=profile, dpi=(72, 72))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x0131] = 6, "secret-model", "secret-model"  # turned, description, software
    noise(2, "two", (24, 24)).save(two / "0.png", "jpeg", exif=exif, icc_profile=profile, comment=b"secret-model")
    return f"secret-one={one}", f"secret-two={two}"


def test_pictures_of_a_comparison_have_one_size_and_format_and_nothing_but_pixels(study, tmp_path):
    study = study(images=telling(tmp_path))
    files = sorted(study.images.iterdir())
    assert len(files) == 2
    for file in files:
        data = file.read_bytes()
        with Image.open(file) as picture:
            assert (picture.format, picture.size, picture.mode, picture.info) == ("PNG", (16, 12), "RGB", {})
        kinds = [data[at - 4 : at] for at in range(8, len(data)) if data[at - 4 : at].isalpha()]
        assert {b"IHDR", b"IDAT", b"IEND"} <= set(kinds)
        for hidden in (b"secret", b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"iCCP", b"pHYs", b"tIME", b"sRGB", b"gAMA"):
            assert hidden not in data


def test_transparent_images_are_put_on_white_and_rotated_photographs_upright(study, tmp_path):
    study = study(images=telling(tmp_path))
    with Image.open(study.folder / rows(study, "SELECT file FROM image WHERE system = 'secret-one'")[0][0]) as picture:
        over = Image.blend(Image.new("RGB", (16, 12), "white"), noise(1, "one", (16, 12)), 128 / 255)
        assert np.abs(np.asarray(picture, int) - np.asarray(over, int)).max() <= 1


def test_a_picture_of_another_shape_is_shown_whole_on_grey():
    size = new.common_size([(40, 10), (20, 20)])
    wide, square = (new.picture_of(image, size) for image in (noise(1, size=(40, 10)), noise(2, size=(20, 20))))
    assert (wide.width, wide.height) == (square.width, square.height) == (20, 10)
    narrow = new.picture_of(noise(1, size=(1000, 1)), new.common_size([(1000, 1), (8, 8)]))
    assert (narrow.width, narrow.height) == (8, 1)


def test_an_image_of_many_comparisons_is_written_once(tmp_path, monkeypatch):
    write, calls = new.picture_of, []
    monkeypatch.setattr(new, "picture_of", lambda image, size: calls.append(size) or write(image, size))
    config = small_config(tmp_path / "study", 2, None)
    made = new_study(config)
    assert len(calls) == made.counts["images"]


def test_no_file_name_reveals_the_system(study, tmp_path):
    study = study(images=telling(tmp_path))
    for (file,) in rows(study, "SELECT file FROM image"):
        assert len(file) == len("images/.png") + 40 and set(file[7:-4]) <= set("0123456789abcdef")


def test_equal_pictures_of_two_systems_keep_their_own_systems(study, tmp_path):
    folders = [drawn(tmp_path / name, ONCE, name) for name in ("x", "y")]
    for number, folder in enumerate(folders):  # two black images, as safety filters make them, in different files
        Image.new("RGB", (8, 8)).save(folder / "0.png", compress_level=number)
    study = study(images=tuple(map(str, folders)))
    assert asked(study) == [(prompt, "x y") for prompt in ONCE]
    assert len(list(study.images.iterdir())) == 5 and study.counts()["images"] == 6


def test_a_seed_too_large_for_a_database_is_a_bad_row_and_a_missing_one_is_not(study, tmp_path):
    folders = [drawn(tmp_path / name, ["a cat", "a dog"], name) for name in ("x", "y")]
    for folder, seed in zip(folders, (str(2**64 - 1), '"unknown"')):
        first, second = (folder / "metadata.jsonl").read_text().splitlines()
        first, second = first.replace('"seed": 0', f'"seed": {seed}'), second.replace('"seed": 0', '"seed": null')
        (folder / "metadata.jsonl").write_text(f"{first}\n{second}\n")
    with pytest.raises(InputError, match="line 1 of .*the seed is 18446744073709551615, and must be from"):
        study(images=tuple(map(str, folders)))
    assert rows(study(images=tuple(map(str, folders)), skip_bad=True), "SELECT seed FROM image") == [(None,)] * 2
