"""The order of sources: by the scorer's word, over prompts that all of them have, and clear only where it is known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from palate.core.config import parse
from palate.core.errors import ConfigError, InputError, RunFolderError
from palate.evaluate.order import OrderConfig, order_lines, order_sources, read_sources
from palate.evaluate.ranking import find_order
from palate.evaluate.report.order_page import render_order
from palate.score.image import ImageScorer

PROMPTS = [f"scene {number}" for number in range(10)]
EVIL = '<script>alert("x")</script>'


def draw(folder: Path, pictures: Mapping[str, Sequence[int]], size: int = 8) -> Path:
    """An ImageFolder of grey pictures: for each prompt, their levels from 0 (black) to 255."""
    folder.mkdir()
    rows = []
    for prompt, levels in pictures.items():
        for level in levels:
            name = f"{len(rows)}.png"
            Image.new("RGB", (size, size), (level, level, level)).save(folder / name)
            rows.append({"file_name": name, "prompt": prompt})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config(tmp_path: Path, scorer: str = "image:brightness", out: str = "order", **folders: Path) -> OrderConfig:
    images = tuple(f"{name.replace('_', ' ')}={folder}" for name, folder in folders.items())
    return OrderConfig(scorer=scorer, images=images, out=tmp_path / out)


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


@pytest.fixture
def three(tmp_path: Path) -> dict[str, Path]:
    """Photographs brighter than base at every prompt, and turbo and base a toss-up; turbo has two images a prompt."""
    return {
        "turbo": draw(tmp_path / "t", {p: (90 + 20 * (i % 2), 100 + 20 * (i % 2)) for i, p in enumerate(PROMPTS)}),
        "real_photographs": draw(tmp_path / "r", {p: (200 + i,) for i, p in enumerate(PROMPTS)}),
        "base": draw(tmp_path / "b", dict.fromkeys(PROMPTS, (100,))),
    }


def test_sources_are_ordered_by_the_mean_score_and_each_step_is_told(tmp_path, three):
    found = summary(order_sources(config(tmp_path, **three)))
    assert found["order"] == ["real photographs", "turbo", "base"]
    assert (found["prompts"], found["images"], found["higher_is_better"]) == (10, 40, True)
    turbo = found["sources"]["turbo"]
    assert turbo["score"]["value"] == pytest.approx(105 / 255)
    assert turbo["score"]["low"] < 105 / 255 < turbo["score"]["high"]
    assert (turbo["place"], turbo["images"], turbo["prompts_left_out"], turbo["bad_rows"]) == (2, 20, 0, 0)

    first, second = found["neighbours"]
    assert (first["ahead"], first["behind"], first["clear"]) == ("real photographs", "turbo", True)
    assert first["difference"]["value"] == pytest.approx((204.5 - 105) / 255)
    assert first["difference"]["low"] > 0
    assert first["win_rate"]["value"] == 1.0
    assert (second["ahead"], second["win_rate"]["value"], second["clear"]) == ("turbo", 0.5, False)
    assert second["difference"]["low"] < 0 < second["difference"]["high"]


def test_a_lower_score_comes_first_where_lower_is_better(tmp_path, three):
    sources = read_sources(config(tmp_path, **three))
    values = {"turbo": 0.2, "real photographs": 0.3, "base": 0.1}
    scores = {
        (s.name, prompt, record.file_name): values[s.name] * (1 + int(prompt[-1]) / 100)
        for s in sources
        for prompt, records in s.images.items()
        for record in records
    }
    scorer = SimpleNamespace(name="unsafe", higher_is_better=False)
    order = find_order(scorer, sources, scores)  # pyright: ignore[reportArgumentType]
    assert [each.source.name for each in order.placed] == ["base", "turbo", "real photographs"]
    assert [step.difference.value for step in order.steps] == pytest.approx([0.1045, 0.1045])
    assert all(step.clear and step.win_rate.value == 1.0 for step in order.steps)
    assert "lower is better" in render_order(order, {})


def test_the_same_pictures_tie_and_rounding_is_no_clear_step(tmp_path, three):
    sources = read_sources(config(tmp_path, a=three["base"], b=three["base"]))
    same = order_sources(config(tmp_path, a=three["base"], b=three["base"]))
    (step,) = summary(same)["neighbours"]
    assert (step["ahead"], step["difference"]["value"], step["win_rate"]["value"]) == ("a", 0.0, 0.5)
    assert (step["clear"], step["word"]) == (False, "unknown: too few prompts differ")
    scores = {
        (s.name, prompt, record.file_name): 0.7 + (1e-7 if s.name == "b" else 0.0)
        for s in sources
        for prompt, records in s.images.items()
        for record in records
    }
    (step,) = find_order(ImageScorer("brightness"), sources, scores).steps
    assert not step.clear


def test_five_prompts_that_agree_are_too_few_and_six_are_enough(tmp_path):
    for count, clear, word in (
        (1, False, "unknown: fewer than six prompts"),
        (5, False, "unknown: fewer than six prompts"),
        (6, True, "clear"),
    ):
        dark = draw(tmp_path / f"dark{count}", dict.fromkeys(PROMPTS[:count], (50,)))
        light = draw(tmp_path / f"light{count}", {p: (100 + i,) for i, p in enumerate(PROMPTS[:count])})
        run = order_sources(config(tmp_path, out=f"order{count}", dark=dark, light=light))
        (step,) = summary(run)["neighbours"]
        assert (step["clear"], step["word"]) == (clear, word)
        assert word in order_lines(run)[3]
        page = (run / "report.html").read_text()
        assert word in page
        assert "nan" not in re.sub("<[^>]*>", "", page)


def test_prompts_that_a_source_lacks_are_left_out_and_counted(tmp_path):
    """The prompts of their own, black for one and white for the other, would turn the order if they counted."""
    a = draw(tmp_path / "a", dict.fromkeys(PROMPTS, (100,)) | {"only a": (0, 0, 0), "also only a": (0,)})
    b = draw(tmp_path / "b", {f" {p}\n": (50,) for p in PROMPTS} | {f"only b {i}": (255,) for i in range(5)})
    run = order_sources(config(tmp_path, a=a, b=b))
    found = summary(run)
    assert (found["order"], found["prompts"], found["images"]) == (["a", "b"], 10, 20)
    left_out = {
        name: (of["prompts_left_out"], of["images_left_out"], of["images"]) for name, of in found["sources"].items()
    }
    assert left_out == {"a": (2, 4, 10), "b": (5, 5, 10)}
    assert any(line.startswith("left out of a: 2 prompts that another source lacks") for line in order_lines(run))
    assert len((run / "scores.jsonl").read_text().splitlines()) == 20


def test_sources_without_a_common_prompt_are_refused_before_anything_is_written(tmp_path):
    a, b = draw(tmp_path / "a", {"a star": (1,)}), draw(tmp_path / "b", {"a circle": (1,), "a square": (1,)})
    with pytest.raises(InputError, match="no prompt that all the sources have") as caught:
        order_sources(config(tmp_path, a=a, b=b))
    assert "a has 1, such as 'a star'; b has 2, such as 'a circle'" in str(caught.value)
    assert not (tmp_path / "order").exists()


def test_broken_images_are_refused_or_counted(tmp_path, three):
    (three["base"] / "3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="3.png.*--skip-bad"):
        order_sources(config(tmp_path, **three))
    assert not (tmp_path / "order").exists()
    asked = config(tmp_path, **three)
    run = order_sources(OrderConfig(scorer=asked.scorer, images=asked.images, out=asked.out, skip_bad=True))
    found = summary(run)
    assert (found["prompts"], found["sources"]["base"]["bad_rows"], found["sources"]["base"]["images"]) == (9, 1, 9)
    assert (found["sources"]["turbo"]["prompts_left_out"], found["sources"]["turbo"]["images_left_out"]) == (1, 2)


def test_a_source_that_the_scorer_cannot_read_is_refused_before_anything_is_written(tmp_path, three, monkeypatch):
    large, read = draw(tmp_path / "large", dict.fromkeys(PROMPTS, (9,)), size=16), ImageScorer.__call__

    def small_only(scorer, images, prompts):
        if images[0].size != (8, 8):
            raise InputError("reads 8 x 8 pictures")
        return read(scorer, images, prompts)

    monkeypatch.setattr(ImageScorer, "__call__", small_only)
    with pytest.raises(InputError, match="reads 8 x 8"):
        order_sources(config(tmp_path, **three, large=large))
    assert not (tmp_path / "order").exists()


def test_a_score_that_is_no_number_is_refused_by_name(tmp_path, three, monkeypatch):
    monkeypatch.setattr(ImageScorer, "__call__", lambda scorer, images, prompts: torch.full((len(images),), torch.nan))
    with pytest.raises(InputError, match=r"the score of image:brightness: not finite at .*0\.png: nan"):
        order_sources(config(tmp_path, **three))


@pytest.mark.parametrize(
    ("images", "batch", "message"),
    [
        (("a=x",), 1, "at least two sources to compare, not 1"),
        (("a=x", "b"), 1, "name=folder, such as turbo=runs/turbo, not 'b'"),
        (("a=x", "=y"), 1, "not '=y'"),
        (("a=x", "b="), 1, "not 'b='"),
        (("a=x", "a =y"), 1, "distinct names, and 'a' names several"),
        (("a=x", "b=y"), 0, "batch must be above zero, not 0"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(images, batch, message):
    words = ["--scorer", "image:brightness", "--out", "o", "--batch", str(batch), "--images", *images]
    with pytest.raises(ConfigError) as caught:
        parse(OrderConfig, words, prog="palate reward order", description="")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_folders_and_scorers_are_refused_before_anything_is_written(tmp_path, three):
    (tmp_path / "empty").mkdir()
    for scorer, folder, message in (
        ("image:brightness", tmp_path / "nowhere", "nowhere' does not exist"),
        ("image:brightness", tmp_path / "empty", "empty lists no image"),
        ("image:brightnes", three["base"], "did you mean 'brightness'"),
        ("reward:nowhere", three["base"], "nowhere has no reward"),
    ):
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            order_sources(config(tmp_path, scorer, turbo=three["turbo"], other=folder))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "order").exists()


def test_a_folder_may_have_an_equals_sign_and_a_name_spaces():
    asked = OrderConfig(scorer="x:y", images=("turbo at 1 step=runs/steps=1", "b = c"), out=Path("o"))
    assert asked.folders == {"turbo at 1 step": Path("runs/steps=1"), "b": Path("c")}


def test_an_interrupted_run_scores_only_what_is_left_and_finds_the_same(tmp_path, three, monkeypatch):
    asked = config(tmp_path, **three)
    run = order_sources(asked)
    whole, page = summary(run), (run / "report.html").read_text()
    rows = (run / "scores.jsonl").read_text().splitlines(keepends=True)
    (run / "summary.json").unlink()
    (run / "report.html").unlink()
    (run / "scores.jsonl").write_text("".join(rows[:25]) + rows[25][:10])

    seen, read = [], ImageScorer.__call__

    def remember(scorer, images, prompts):
        seen.extend(prompts)
        return read(scorer, images, prompts)

    monkeypatch.setattr(ImageScorer, "__call__", remember)
    order_sources(asked)
    assert len(seen) == 15 + len(three)  # one image of each source is read before the work begins
    assert summary(run) == whole
    assert (run / "report.html").read_text() == page


def test_a_finished_run_is_not_made_again_and_one_of_other_images_or_another_scorer_is_refused(tmp_path, three):
    asked = config(tmp_path, **three)
    run = order_sources(asked)
    before = (run / "summary.json").stat().st_mtime_ns
    assert (order_sources(asked), (run / "summary.json").stat().st_mtime_ns) == (run, before)
    with pytest.raises(RunFolderError, match="scorer: image:brightness there, image:contrast now"):
        order_sources(config(tmp_path, "image:contrast", **three))
    Image.new("RGB", (8, 8), (1, 2, 3)).save(three["base"] / "0.png")
    with pytest.raises(RunFolderError, match=r"inputs\.images: "):
        order_sources(asked)


def test_the_printed_lines_name_every_source_step_and_the_report(tmp_path, three):
    lines = order_lines(order_sources(config(tmp_path, **three)))
    assert lines[0] == "by image:brightness (higher is better), over the 10 prompts that all sources have:"
    assert [line.split("  ")[0] for line in lines[1:4]] == ["1. real photographs", "2. turbo", "3. base"]
    assert lines[4].startswith("real photographs is ahead of turbo by 0.39")
    assert lines[4].endswith("at 100 [74.11, 100] per cent of prompts: clear")
    assert lines[5].endswith(": not clear")
    assert lines[6] == f"the report is {tmp_path / 'order' / 'report.html'}"
    with pytest.raises(InputError, match="not a finished run"):
        order_lines(tmp_path)


def test_the_page_is_one_accessible_file_in_which_everything_is_escaped(tmp_path):
    big, small = {f"{EVIL} {p}": (200,) for p in PROMPTS}, {f"{EVIL} {p}": (100,) for p in PROMPTS}
    folders = draw(tmp_path / "<b>", big, size=300), draw(tmp_path / "small", small)
    images = (f"{EVIL}={folders[0]}", f"other={folders[1]}")
    page = (
        order_sources(OrderConfig(scorer="image:brightness", images=images, out=tmp_path / "o")) / "report.html"
    ).read_text()
    assert "<script" not in page and "<b>/" not in page
    assert re.findall(r'(?:src|href)="(?!data:image/webp;base64,)', page) == []
    assert not re.search(r"https?://|@import|url\(|<link", page)
    assert '<html lang="en">' in page and 'name="viewport"' in page
    assert page.count("<img") == 16 == len(re.findall(r'<img [^>]*alt="[^"]+"', page))
    assert len(re.findall("<th(?= |>)", page)) == len(re.findall(r'<th [^>]*scope="(?:row|col)"', page))
    assert len(ids := re.findall(r' id="([^"]*)"', page)) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]*)"', page)) <= set(ids)
    assert 'width="192"' in page and 'width="8"' in page


def test_the_page_shows_the_first_picture_of_each_source_in_the_found_order(tmp_path, three):
    page = (order_sources(config(tmp_path, **three)) / "report.html").read_text()
    shown = re.findall(r'alt="([^"]*)"', page)
    assert shown[:3] == [
        "real photographs for “scene 0”; score 0.784",
        "turbo for “scene 0”; score 0.353",
        "base for “scene 0”; score 0.392",
    ]
    assert len(shown) == 8 * 3
    assert "8 of 10 prompts are shown" in page


def test_the_configuration_is_read_without_anything_heavy():
    heavy = {"numpy", "scipy", "torch", "PIL", "jinja2"}
    program = f"import sys, palate.evaluate.order; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
