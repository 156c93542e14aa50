"""A weighted sum of scorers, each normalised within a prompt: its numbers, its errors, and every use that takes it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import encoded
from PIL import Image
from score.measured import Change, pixels
from score.test_remote import serving

from palate.choose.best_of import BestOf
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.evaluate.order import OrderConfig, order_sources
from palate.evaluate.stage import EvaluateConfig, evaluate
from palate.generate.image_plan import plan_images
from palate.generate.sampler import Sampled
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.prefer.load import load_preferences
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet
from palate.reward.testing import _scored
from palate.score.image import ImageScorer
from palate.score.load import load_scorer
from palate.score.remote import RemoteScorer
from palate.score.scored import read_scores
from palate.score.stage import ScoreConfig, score
from palate.score.weighted import weighted_z_scores
from palate.score.within_prompt import whole_prompts

SUM = "sum:3*red:x+1*green:x"


def folder(path: Path, images: list[tuple[str, tuple[int, int, int]]]) -> Path:
    """Images of one colour with prompts."""
    (path / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (prompt, colour) in enumerate(images):
        (path / f"images/{number}.png").write_bytes(encoded(colour))  # pyright: ignore[reportArgumentType]
        rows.append({"file_name": f"images/{number}.png", "prompt": prompt})
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.shows("sum", "formula")
def test_the_score_is_the_weighted_mean_of_z_scores_within_the_prompt(channels: Change) -> None:
    channels()
    # within "a": red 1, 3 is -1, 1 and green 50, 10 is 1, -1, so (3 * -1 + 1 * 1) / 4 = -0.5 and 0.5
    # within "b": red 0, 0, 3 is -0.707, -0.707, 1.414 and green is constant
    shown = pixels((1, 50, 0), (0, 9, 0), (3, 10, 0), (0, 9, 0), (3, 9, 0))
    scores = load_scorer(SUM)(shown, ["a", "b", "a", "b", "b"])
    root = 0.75 / math.sqrt(2)
    torch.testing.assert_close(scores, torch.tensor([-0.5, -root, 0.5, -root, 2 * root]))


def test_a_scorer_of_which_lower_is_better_counts_negated(channels: Change) -> None:
    channels(higher_is_better=False)
    assert load_scorer("sum:1*red:x")(pixels((1, 0, 0), (3, 0, 0)), ["a", "a"]).tolist() == [1.0, -1.0]
    assert load_scorer("sum:1*red:x").higher_is_better


def test_the_unit_of_a_scorer_does_not_matter_and_neither_do_differences_of_rounding() -> None:
    small, large = [0.1, 0.2, 0.6], [1000.0, 2000.0, 6000.0]
    assert weighted_z_scores([small, [3.0, 2.0, 1.0]], [1, 2]) == pytest.approx(
        weighted_z_scores([large, [3.0, 2.0, 1.0]], [0.5, 1])
    )
    assert weighted_z_scores([[21.4, 21.400002, 21.4]], [1]) == [0, 0, 0]
    assert weighted_z_scores([[5.0]], [1]) == [0]
    assert weighted_z_scores([[0.0, 0.0]], [1]) == [0, 0]


def test_an_image_alone_in_its_prompt_scores_zero(channels: Change) -> None:
    channels()
    assert load_scorer(SUM)(pixels((9, 1, 0)), ["a"]).tolist() == [0]


@pytest.mark.parametrize(
    "spec, complaint",
    [
        ("sum", "has no argument"),
        ("sum:red:x", r"sum:red:x: 'red:x' is not <weight>\*<scorer>; write it as in sum:0.7\*pickscore"),
        ("sum:0.5*", r"'0.5\*' is not <weight>\*<scorer>"),
        ("sum:0.5*red:x+0*green:x", "the weight of 'green:x' must be a number above zero, not '0'"),
        ("sum:0.5*red:x+-1*green:x", "the weight of 'green:x' must be a number above zero, not '-1'"),
        ("sum:nan*red:x", "must be a number above zero, not 'nan'"),
        ("sum:inf*red:x", "must be a number above zero, not 'inf'"),
        ("sum:much*red:x", "must be a number above zero, not 'much'"),
        ("sum:1*red:x+1*gren:x", "'gren:x' has no known family; did you mean 'green'"),
        ("sum:1*red:x+2*red:x", "'red:x' occurs twice; add its weights up"),
        ("sum:1*red:x+1*auditor:faithful", "'auditor:faithful' cannot be a part of sum: the auditor judges results"),
        ("sum:1*red:x+1*sum:1*green:x", "'sum:1.green:x' is itself a sum; name its parts"),
    ],
)
def test_a_bad_composite_is_one_line_before_any_part_is_loaded(
    channels: Change, monkeypatch: pytest.MonkeyPatch, spec: str, complaint: str
) -> None:
    channels()
    monkeypatch.setattr("palate.score.composite.load_scorer", lambda *_: pytest.fail("a part was loaded"))
    with pytest.raises(InputError, match=complaint) as caught:
        load_scorer(spec)
    assert "\n" not in str(caught.value)


def test_a_plus_in_the_spec_of_a_part_is_a_part_of_it() -> None:
    from palate.score.composite import scorer_parts

    found = scorer_parts("1e-1*clip:a+b/c+2*implicit:runs/x+y")
    assert [(part.weight, part.spec) for part in found] == [(0.1, "clip:a+b/c"), (2.0, "implicit:runs/x+y")]


def test_a_scorer_that_compares_images_itself_is_no_part(channels: Change) -> None:
    channels(within_prompt=True)
    with pytest.raises(InputError, match="'red:x' compares images itself and cannot be a part"):
        load_scorer("sum:1*red:x")


def test_weights_and_parts_are_in_the_fingerprint(channels: Change) -> None:
    channels()
    specs = ("sum:1*red:x", "sum:1*green:x", "sum:1*red:x+1*green:x", "sum:2*red:x+1*green:x")
    assert len({load_scorer(spec).fingerprint() for spec in specs}) == 4


IMAGES = [("a", (1, 50, 0)), ("b", (0, 9, 0)), ("a", (3, 10, 0)), ("b", (0, 9, 0)), ("c", (7, 7, 7)), ("b", (3, 9, 0))]


def columns(run: Path, spec: str = SUM) -> dict[str, float]:
    return {row["file_name"][7:8]: row[spec] for row in read_scores(run)}


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_the_command_gives_whole_prompts_at_any_batch(channels: Change, tmp_path: Path, batch: int) -> None:
    calls = channels()
    images = folder(tmp_path / "images", IMAGES)
    run = score(ScoreConfig(images=images, scorer=(SUM, "red:x"), out=tmp_path / "run", batch=batch, cache=False))
    root = 0.75 / math.sqrt(2)
    expected = {"0": -0.5, "1": -root, "2": 0.5, "3": -root, "4": 0.0, "5": 2 * root}
    assert columns(run) == pytest.approx(expected)
    assert columns(run, "red:x") == {"0": 1, "1": 0, "2": 3, "3": 0, "4": 7, "5": 3}
    assert max(calls) <= batch and sum(calls) == 12  # red:x is the scorer and the part, and is asked once
    assert (RunFolder(run).finished or {})["images alone in their prompt"] == 1


@pytest.mark.parametrize("change", ["another image", "gone", "new", "interrupted"])
def test_what_has_changed_is_compared_again_with_all_images_of_its_prompt(
    channels: Change, tmp_path: Path, change: str
) -> None:
    calls = channels()
    images = folder(tmp_path / "images", IMAGES)
    config = ScoreConfig(images=images, scorer=("sum:1*red:x",), out=tmp_path / "run", cache=False)
    score(config)
    calls.clear()
    now = list(IMAGES)
    if change == "another image":
        now[1] = ("b", (3, 9, 0))
    elif change == "gone":
        now.pop(5)  # b: red 0, 0
    elif change == "new":
        now.append(("b", (3, 9, 0)))
    else:
        file = tmp_path / "run/scores.jsonl"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if "images/5" not in line))
    folder(images, now)
    score(config)
    assert sum(calls) == [prompt for prompt, _ in now].count("b")
    fresh = score(ScoreConfig(images=images, scorer=("sum:1*red:x",), out=tmp_path / "other", cache=False))
    assert columns(tmp_path / "run", "sum:1*red:x") == columns(fresh, "sum:1*red:x")
    calls.clear()
    score(config)
    assert calls == []


def test_an_image_without_a_score_is_left_out_and_the_others_are_compared(
    channels: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels()
    monkeypatch.setattr("score.measured.Channel.__call__", _blind_to_zero)
    images = folder(tmp_path / "images", [("a", (0, 0, 0)), ("a", (1, 0, 0)), ("a", (3, 0, 0))])
    config: dict[str, Any] = {"images": images, "scorer": ("sum:1*red:x",), "out": tmp_path / "run"}
    with pytest.raises(InputError, match=r"images/0.png: the score of sum:1\*red:x: not finite"):
        score(ScoreConfig(**config))
    run = score(ScoreConfig(**{**config, "out": tmp_path / "other"}, skip_bad=True))
    assert columns(run, "sum:1*red:x") == {"1": -1.0, "2": 1.0}


def _blind_to_zero(self: Any, images: Any, prompts: Any) -> torch.Tensor:
    values = [image.getpixel((0, 0))[self.place] for image in images]
    return torch.tensor([value or math.nan for value in values])


class Painter:
    """Draws the colour of a seed."""

    def draw(self, prompts: list[str], seeds: list[int]) -> list[Sampled]:
        return [Sampled(Image.new("RGB", (4, 4), (seed % 251, seed % 241, 0))) for seed in seeds]


def test_best_of_compares_all_candidates_whatever_the_batch(channels: Change) -> None:
    channels()
    (item,) = plan_images(["a cat"], 1, 7)
    drawn = [BestOf(load_scorer(SUM), 5).draw(Painter(), item, batch) for batch in (1, 2, 5)]  # pyright: ignore[reportArgumentType]
    scores = [each.columns["candidate_scores"] for each in drawn]
    assert scores[0] == scores[1] == scores[2]
    assert sum(scores[0]) == pytest.approx(0) and max(scores[0]) == drawn[0].columns["score"] > 0


def test_runs_that_were_compared_apart_are_not_ranked_together(channels: Change, tmp_path: Path) -> None:
    channels()
    folders = [folder(tmp_path / name, [("a", (1, shade, 0)), ("a", (shade, 0, 0))]) for name, shade in SHADES.items()]
    runs = [score(ScoreConfig(images=each, scorer=(SUM,), out=each / "run")) for each in folders]
    with pytest.raises(InputError, match="has compared the images of a prompt within each run; score all folders in"):
        prefer_from_scores(FromScoresConfig(scores=tuple(runs), out=tmp_path / "sets"))
    run = score(ScoreConfig(images=tuple(map(str, folders)), scorer=("sum:1*red:x",), out=tmp_path / "run"))
    (ranked,) = load_preferences(prefer_from_scores(FromScoresConfig(scores=run, out=tmp_path / "sets")))
    assert ranked.ranks == (3, 2, 3, 1)  # red 1, 9, 1, 90


SHADES = {"one": 9, "other": 90}


def test_a_served_composite_gets_all_images_of_a_prompt_in_one_request() -> None:
    composite = load_scorer("sum:2*image:brightness+1*image:colourfulness")
    shown = [Image.new("RGB", (8, 8), (number * 9, 99, 255 - number)) for number in range(27)]
    prompts = ["a"] * 20 + ["b", "c"] * 3 + ["b"]
    with serving(composite) as address:
        scorer = RemoteScorer(address)
        torch.testing.assert_close(scorer(shown, prompts), composite(shown, prompts))
        assert scorer.within_prompt


def test_a_use_that_compares_prompts_or_models_refuses_it_in_one_line(tmp_path: Path) -> None:
    spec = "sum:1*image:brightness"
    with pytest.raises(
        InputError, match=r"sum:1.image:brightness only compares the images of a prompt .* an evaluation"
    ):
        evaluate(EvaluateConfig(base="a", aligned="b", judge=spec, prompts="x", out=tmp_path / "run"))
    with pytest.raises(InputError, match="but the order of sources compares their mean scores"):
        order_sources(OrderConfig(images=("a=x", "b=y"), scorer=spec, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_test_of_rewards_gives_it_one_set_at_a_time() -> None:
    sets = [
        RankedSet(prompt="a", images=(StoredImage(data=encoded(one)), StoredImage(data=encoded(two))), ranks=(1, 2))
        for one, two in (("white", "black"), ("black", "red"))
    ]
    assert _scored(load_scorer("sum:1*image:brightness"), sets, 64, "x") == [[1.0, -1.0], [-1.0, 1.0]]


def test_batches_contain_whole_prompts() -> None:
    assert list(whole_prompts(["a", "b", "a", "c", "b", "b"], 3)) == [[0, 2], [1, 4, 5], [3]]
    assert list(whole_prompts(["a"] * 4, 2)) == [[0, 1, 2, 3]]
    assert list(whole_prompts([], 2)) == []


def test_parts_lie_on_one_device_and_are_shared_with_the_scorer_itself() -> None:
    scorer = load_scorer("image:brightness", "cpu")
    assert load_scorer("sum:1*image:brightness", "cpu").parts == [scorer]  # type: ignore[attr-defined]
    assert isinstance(scorer, ImageScorer)
