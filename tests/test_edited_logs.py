"""A log that somebody edited by hand is named with its line and key, not a traceback, by whichever stage reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import image_folder
from tiny_pipelines import random_stable_diffusion

from palate.caption import captioner
from palate.caption.stage import CaptionConfig, caption
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.evaluate.order import OrderConfig, order_sources
from palate.generate.stage import GenerateConfig, generate
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.prefer.grading import GradeConfig, grade
from palate.score.filter import FilterConfig, filter_images
from palate.score.scored import read_summaries
from palate.score.stage import ScoreConfig, score

BRIGHT = "image:brightness"
GONE = object()
"""In the place of a value: the key is taken away."""


def edit(table: Path, line: int, **changes: Any) -> None:
    """Changes keys of a line, from 1, as somebody would by hand."""
    rows = [json.loads(each) for each in table.read_text().splitlines()]
    row = {**rows[line - 1], **changes}
    rows[line - 1] = {key: value for key, value in row.items() if value is not GONE}
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images", ["a", "a", "b"], (24, 24))


@pytest.fixture
def scores(images: Path, tmp_path: Path) -> Path:
    return score(ScoreConfig(images=images, scorer=(BRIGHT,), out=tmp_path / "scores"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> GenerateConfig:
    """A finished run of `palate generate`."""
    root = tmp_path_factory.mktemp("generate")
    model, prompts = random_stable_diffusion(root / "model"), root / "prompts.txt"
    prompts.write_text("a cat\n")
    config = GenerateConfig(model=str(model), prompts=str(prompts), images=2, steps=1, device="cpu", out=root / "run")
    generate(config)
    return config


@pytest.fixture
def drawn(whole_run: GenerateConfig, tmp_path: Path) -> GenerateConfig:
    """Such a run, to be edited."""
    shutil.copytree(whole_run.out, tmp_path / "run")
    return replace(whole_run, out=tmp_path / "run")


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"file_name": GONE}, "no file_name among prompt, seed"),
        ({"file_name": ["x.png"]}, r"the file_name is \['x.png'\], not text"),
        ({"prompt": GONE}, "no prompt among file_name, seed"),
        ({"seed": "many"}, "the seed is 'many', not a whole number"),
    ],
)
def test_generate_names_the_line_of_its_metadata(drawn: GenerateConfig, changes: Any, complaint: str) -> None:
    edit(drawn.out / "metadata.jsonl", 2, **changes)
    with pytest.raises(InputError, match=rf"line 2 of .*metadata\.jsonl: {complaint}"):
        generate(drawn)


def test_generate_names_a_candidate_that_is_no_number(drawn: GenerateConfig) -> None:
    edit(drawn.out / "metadata.jsonl", 1, candidate=[3])
    with pytest.raises(InputError, match=r"the candidate of images/.*png in .*run is \[3\], not a whole number"):
        generate(drawn)


class Silent:
    """A captioner that writes the same caption for every picture."""

    silence = ""

    def fingerprint(self) -> str:
        return "silent"

    def __call__(self, images: Any) -> list[str]:
        return ["a picture"] * len(images)


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"file_name": GONE}, "no file_name among"),
        ({"file_name": None}, "the file_name is missing, not text"),
        ({"file_name": "../keep.txt"}, r"the file_name is '\.\./keep\.txt', which is outside"),
    ],
)
def test_caption_names_the_line_of_its_metadata_and_deletes_nothing_outside(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, complaint: str
) -> None:
    monkeypatch.setattr(captioner, "load_captioner", lambda *_: Silent())
    config = CaptionConfig(images=images, captioner="silent", out=tmp_path / "run")
    edit(caption(config) / "metadata.jsonl", 3, **changes)
    (tmp_path / "keep.txt").write_text("kept")
    with pytest.raises(InputError, match=rf"line 3 of .*metadata\.jsonl: {complaint}"):
        caption(config)
    assert (tmp_path / "keep.txt").read_text() == "kept"


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"source": GONE}, "no source among"),
        ({"score": "high"}, "the score is 'high', not a finite number"),
        ({"prompt": {"a": 1}}, r"the prompt is \{'a': 1\}, not text"),
    ],
)
def test_order_names_the_line_of_its_scores(images: Path, tmp_path: Path, changes: Any, complaint: str) -> None:
    other = image_folder(tmp_path / "other", ["a", "b", "b"], (24, 24))
    config = OrderConfig(scorer=BRIGHT, images=(f"one={images}", f"two={other}"), out=tmp_path / "run")
    run = order_sources(config)
    edit(run / "scores.jsonl", 4, **changes)
    (run / "summary.json").unlink()
    with pytest.raises(InputError, match=rf"line 4 of .*scores\.jsonl: {complaint}"):
        order_sources(config)


def ranked(scores: Path) -> Path:
    return prefer_from_scores(FromScoresConfig(scores=scores, out=scores.parent / "out"))


def graded(scores: Path) -> Path:
    return grade(GradeConfig(scores=scores, out=scores.parent / "out"))


def filtered(scores: Path) -> Path:
    return filter_images(FilterConfig(scores=scores, at_least=0.0, out=scores.parent / "out"))


READERS = pytest.mark.parametrize("read", [ranked, graded, filtered])


@READERS
@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"file_name": GONE}, "no file_name among"),
        ({"file_name": 7}, "the file_name is 7, not text"),
        ({"prompt": ["a"]}, r"the prompt is \['a'\], not text"),
        ({"prompt": GONE}, "no prompt among"),
    ],
)
def test_readers_of_scores_name_the_line(scores: Path, read: Callable, changes: Any, complaint: str) -> None:
    edit(scores / "scores.jsonl", 2, **changes)
    with pytest.raises(InputError, match=rf"line 2 of .*scores\.jsonl: {complaint}"):
        read(scores)


@pytest.mark.parametrize("changes", [{BRIGHT: GONE}, {BRIGHT: "bright"}, {BRIGHT: None}])
def test_score_names_the_line_that_lacks_a_score(images: Path, scores: Path, changes: Any) -> None:
    edit(scores / "scores.jsonl", 2, **changes)
    with pytest.raises(InputError, match=rf"line 2 of .*scores\.jsonl: .*{BRIGHT}"):
        score(ScoreConfig(images=images, scorer=(BRIGHT,), out=scores))


@READERS
@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"higher_is_better": "yes"}, "the higher_is_better is 'yes', neither true nor false"),
        ({"spread": GONE}, "no spread among higher_is_better, mean"),
        ({"spread": "wide"}, "the spread is 'wide', not a finite number"),
        ({"images": None}, "the images is missing, not a whole number"),
    ],
)
def test_readers_of_a_summary_name_the_scorer_and_key(
    scores: Path, read: Callable, changes: Any, complaint: str
) -> None:
    found = json.loads((scores / "summary.json").read_text())
    row = {**found["scores"][BRIGHT], **changes}
    found["scores"][BRIGHT] = {key: value for key, value in row.items() if value is not GONE}
    (scores / "summary.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=rf"summary\.json of .*scorer '{BRIGHT}': {complaint}.*score the folder again"):
        read(scores)


@READERS
@pytest.mark.parametrize("content", [{}, {"scores": None}, {"scores": [1]}])
def test_a_summary_of_something_else_is_no_run_of_scores(scores: Path, read: Callable, content: Any) -> None:
    (scores / "summary.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is not a finished run of `palate score`"):
        read(scores)


@pytest.mark.parametrize("content", ["[1]", "null", '"done"', "[" * 100_000])
def test_a_summary_that_is_no_object_is_damaged(scores: Path, content: str) -> None:
    (scores / "summary.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"summary\.json is damaged"):
        read_summaries(scores)


def test_more_keys_in_a_summary_are_read_past(scores: Path) -> None:
    found = json.loads((scores / "summary.json").read_text())
    found["scores"][BRIGHT]["note"] = "mine"
    (scores / "summary.json").write_text(json.dumps(found))
    assert read_summaries(scores)[BRIGHT].images == 3


@pytest.mark.parametrize("line", ["[1]", "{}", '{"step": "one"}', "null"])
def test_a_line_of_metrics_without_a_step_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "loss": 0.5}}\n{line}\n')
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl, line 2 is damaged"):
        RunFolder(tmp_path).metrics()
