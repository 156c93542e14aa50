"""Several systems in one ranked set: of folders scored together, and of several runs of scores."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import pstdev
from typing import Any

import pytest
from pictures import encoded

from palate.core.errors import InputError
from palate.core.runs import RunFolder, read_config
from palate.core.strict_yaml import write_yaml
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.prefer.load import load_preferences
from palate.prefer.real_first import put_first
from palate.records.ranked import Vote
from palate.records.systems import ImageSource, folder_names, image_source
from palate.score.filter import FilterConfig, filter_images
from palate.score.pooled import pooled, read_pooled_summaries
from palate.score.scored import MEANS, Summary, read_scores, read_summaries
from palate.score.stage import ScoreConfig, score

BRIGHT = "image:brightness"


def folder(path: Path, colours: dict[str, str], **columns: Any) -> Path:
    """An ImageFolder with one image of a colour for each prompt."""
    rows = []
    path.mkdir(parents=True)
    for number, (prompt, colour) in enumerate(colours.items()):
        (path / f"{number}.png").write_bytes(encoded(colour))
        rows.append({"file_name": f"{number}.png", "prompt": prompt, **columns})
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """By brightness: black 0, grey 0.5, white 1."""
    return [
        folder(tmp_path / "photos", {"p": "black", "q": "grey"}),
        folder(tmp_path / "fast", {"p": "grey", "q": "white"}, model="sd", steps=1),
        folder(tmp_path / "slow", {"p": "white", "q": "black"}, model="sd", steps=20, system="SD, slow"),
    ]


def scores_of(folders: list[Path], out: Path) -> Path:
    return score(ScoreConfig(images=tuple(map(str, folders)), scorer=(BRIGHT,), out=out))


def systems_and_ranks(run: Path) -> dict[str, dict[str, int]]:
    return {each.prompt: dict(zip(each.systems, each.ranks or ())) for each in load_preferences(run)}


EXPECTED = {"p": {"photos": 3, "sd@1 step": 2, "SD, slow": 1}, "q": {"photos": 2, "sd@1 step": 1, "SD, slow": 3}}


def test_folders_that_are_scored_together_are_systems_of_one_set(three: list[Path], tmp_path: Path) -> None:
    scores = scores_of(three, tmp_path / "scores")
    assert [row["file_name"] for row in read_scores(scores)][::2] == ["photos/0.png", "fast/0.png", "slow/0.png"]
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))
    assert systems_and_ranks(run) == EXPECTED


def test_several_runs_of_scores_make_the_same_sets(three: list[Path], tmp_path: Path) -> None:
    runs = (scores_of(three[:2], tmp_path / "a"), scores_of(three[2:], tmp_path / "b"))
    run = prefer_from_scores(FromScoresConfig(scores=runs, out=tmp_path / "run"))
    assert systems_and_ranks(run) == EXPECTED
    values = [row[BRIGHT] for each in runs for row in read_scores(each)]
    found = read_pooled_summaries(runs)[BRIGHT]
    assert (found.spread, found.mean, found.images) == (pytest.approx(pstdev(values)), pytest.approx(0.5, abs=2e-3), 6)


def test_the_spread_of_several_runs_is_that_of_all_their_images() -> None:
    # 1, 3 and 10, 14, 18: mean 9.2, squares 67.24 + 38.44 + 0.64 + 23.04 + 77.44 = 206.8
    one, other = Summary(True, 2.0, 1.0, 1.0, 3.0, 2), Summary(True, 14.0, (32 / 3) ** 0.5, 10.0, 18.0, 3)
    found = pooled([one, other])
    assert (found.mean, found.spread) == (pytest.approx(9.2), pytest.approx((206.8 / 5) ** 0.5))
    assert (found.lowest, found.highest, found.images) == (1.0, 18.0, 5)


def test_real_images_are_above_all_others_where_that_is_wished(three: list[Path], tmp_path: Path) -> None:
    scores = scores_of(three, tmp_path / "scores")
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", real_first="photos"))
    assert systems_and_ranks(run) == {
        "p": {"photos": 1, "sd@1 step": 3, "SD, slow": 2},
        "q": {"photos": 1, "sd@1 step": 2, "SD, slow": 3},
    }
    with pytest.raises(InputError, match="no image is of the system 'photo'; did you mean 'photos'"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "other", real_first="photo"))


def test_several_real_images_share_rank_one_and_the_others_keep_their_order() -> None:
    assert put_first([Vote("a", (2, 1, 4, 3))], [False, False, True, True]) == [Vote("a", (3, 2, 1, 1))]


def test_prompts_that_do_not_match_are_one_line_or_are_left_out_and_counted(three: list[Path], tmp_path: Path) -> None:
    scores = scores_of([*three, folder(tmp_path / "other", {"p": "red"})], tmp_path / "scores")
    with pytest.raises(InputError, match="^1 of 2 prompts have images .*; 'q' has none of other; --allow"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", allow_missing=True))
    assert list(systems_and_ranks(run)) == ["p"]
    assert (RunFolder(run).finished or {})["prompts without an image of every system"] == 1


def test_systems_without_a_common_prompt_are_refused_whatever_is_allowed(three: list[Path], tmp_path: Path) -> None:
    scores = scores_of([three[0], folder(tmp_path / "x", {"r": "red"})], tmp_path / "scores")
    with pytest.raises(InputError, match="0 of 3 prompts .* draw all systems with the same prompts"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", allow_missing=True))


def test_scores_of_another_version_of_a_scorer_are_refused(three: list[Path], tmp_path: Path) -> None:
    runs = (scores_of(three[:2], tmp_path / "a"), scores_of(three[2:], tmp_path / "b"))
    config = read_config(runs[1]) or {}
    config["inputs"][f"scorer {BRIGHT}"] = "older"
    (runs[1] / "config.yaml").write_text(write_yaml(config))
    with pytest.raises(InputError, match=f"{BRIGHT} has changed between .*a and .*b, so their scores differ"):
        prefer_from_scores(FromScoresConfig(scores=runs, out=tmp_path / "run"))
    with pytest.raises(InputError, match="given twice"):
        prefer_from_scores(FromScoresConfig(scores=(runs[0], runs[0]), out=tmp_path / "run"))


def test_moved_folders_are_named_in_order(three: list[Path], tmp_path: Path) -> None:
    scores = scores_of(three, tmp_path / "scores")
    (tmp_path / "new").mkdir()
    moved = tuple(str(each.rename(tmp_path / "new" / f"moved-{each.name}")) for each in three)
    with pytest.raises(InputError, match="are not at .*photos' any more"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))
    with pytest.raises(InputError, match="images names 2 folders, and the runs scored 3"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", images=moved[:2]))
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", images=moved))
    assert systems_and_ranks(run) == EXPECTED


def test_a_run_of_several_folders_is_filtered_and_continued_like_any(three: list[Path], tmp_path: Path) -> None:
    scores = scores_of(three, tmp_path / "scores")
    kept = filter_images(FilterConfig(scores=scores, at_least=0.9, out=tmp_path / "kept"))
    assert sorted(each.relative_to(kept).as_posix() for each in kept.rglob("*.png")) == ["fast/1.png", "slow/0.png"]
    (three[0] / "0.png").write_bytes(encoded("white"))
    assert (RunFolder(scores_of(three, tmp_path / "scores")).finished or {})["scored again"] == 1
    assert read_summaries(scores)[BRIGHT].images == 6


def test_one_folder_is_scored_into_what_it_always_was(three: list[Path], tmp_path: Path) -> None:
    one = score(ScoreConfig(images=(str(three[1]),), scorer=(BRIGHT,), out=tmp_path / "one"))
    assert (read_config(one) or {})["images"] == str(three[1])
    assert [row["file_name"] for row in read_scores(one)] == ["0.png", "1.png"]


@pytest.mark.parametrize(
    "paths, names",
    [(["/r/a", "/r/b"], ["a", "b"]), (["/r/a/images", "/r/b/images"], ["a/images", "b/images"]), (["/r/a"], ["a"])],
)
def test_folders_are_called_by_what_is_different_in_their_paths(paths: list[str], names: list[str]) -> None:
    assert folder_names([Path(each) for each in paths]) == names


def test_a_folder_in_another_or_twice_is_refused() -> None:
    for paths, complaint in ((["/r", "/r/a"], "/r/a is in /r, which is given too"), (["/r", "/r"], "is given twice")):
        with pytest.raises(InputError, match=complaint):
            folder_names([Path(each) for each in paths])


def generated(path: Path, steps: int | None, colours: dict[str, str]) -> Path:
    """A folder as a run of `palate generate` leaves it."""
    run = folder(path, colours, model="sd", steps=steps or 20)
    steps_line = f"steps: {steps}\n" if steps else ""
    (run / "config.yaml").write_text(f"stage: generate\npalate: '1'\nmodel: sd\n{steps_line}")
    return run


def test_a_given_name_is_the_system_whatever_the_rows_say(three: list[Path], tmp_path: Path) -> None:
    images = (f"real={three[0]}", str(three[1]), f"slow one={three[2]}")
    scores = score(ScoreConfig(images=images, scorer=(BRIGHT,), out=tmp_path / "scores"))
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", real_first="real"))
    assert systems_and_ranks(run) == {
        "p": {"real": 1, "sd@1 step": 3, "slow one": 2},
        "q": {"real": 1, "sd@1 step": 2, "slow one": 3},
    }
    means = (RunFolder(scores).finished or {})[MEANS][BRIGHT]
    assert list(means) == [row["system"] for row in read_scores(scores)][::2] == ["real", "sd@1 step", "slow one"]
    assert means["sd@1 step"] == pytest.approx((0.502 + 1) / 2, abs=1e-3)


def test_one_folder_with_a_name_joins_the_others_of_other_runs(three: list[Path], tmp_path: Path) -> None:
    real = score(ScoreConfig(images=(f"real={three[0]}",), scorer=(BRIGHT,), out=tmp_path / "a"))
    assert [(row["file_name"], row["system"]) for row in read_scores(real)] == [("0.png", "real"), ("1.png", "real")]
    runs = (real, scores_of(three[1:], tmp_path / "b"))
    run = prefer_from_scores(FromScoresConfig(scores=runs, out=tmp_path / "run"))
    assert systems_and_ranks(run)["q"] == {"real": 2, "sd@1 step": 1, "SD, slow": 3}
    moved = (f"photographs={three[0]}", str(three[1]), str(three[2]))
    again = prefer_from_scores(FromScoresConfig(scores=runs, images=moved, out=tmp_path / "again"))
    assert systems_and_ranks(again)["q"] == {"photographs": 2, "sd@1 step": 1, "SD, slow": 3}


def test_names_of_sources_are_stored_with_absolute_folders(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ScoreConfig(images=("real=photos", "fast"), scorer=(BRIGHT,), out=Path("scores"))
    assert asked.images == (f"real={three[0]}", str(three[1]))
    score(asked)
    monkeypatch.chdir(tmp_path.parent)
    run = prefer_from_scores(FromScoresConfig(scores=tmp_path / "scores", out=tmp_path / "run"))
    assert systems_and_ranks(run)["p"] == {"real": 2, "sd@1 step": 1}


def test_a_folder_of_runs_has_a_system_for_each_run(tmp_path: Path) -> None:
    generated(tmp_path / "runs/fast", 4, {"p": "grey", "q": "white"})
    generated(tmp_path / "runs/slow", None, {"p": "white", "q": "black"})
    folder(tmp_path / "runs/photos", {"p": "black", "q": "grey"})
    scores = score(ScoreConfig(images=tmp_path / "runs", scorer=(BRIGHT,), out=tmp_path / "scores"))
    assert read_scores(scores)[0]["file_name"] == "fast/0.png"
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))
    assert systems_and_ranks(run) == {
        "p": {"sd@4 steps": 2, "sd@20 steps": 1, "photos": 3},
        "q": {"sd@4 steps": 1, "sd@20 steps": 3, "photos": 2},
    }


def test_two_folders_of_one_system_are_joined_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = generated(tmp_path / "one", 4, {"p": "grey"})
    other = generated(tmp_path / "other", 4, {"p": "white"})
    joined = f"{one} and {other} count as those of one system, sd@4 steps; name=FOLDER tells them apart"
    scores_of([one, other], tmp_path / "scores")
    assert joined in capsys.readouterr().err
    score(ScoreConfig(images=(f"a={one}", f"b={other}"), scorer=(BRIGHT,), out=tmp_path / "named"))
    assert "one system" not in capsys.readouterr().err


def test_prompts_of_some_systems_are_ranked_where_that_is_asked_for(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [folder(tmp_path / "x", {"p": "red", "r": "red"}), folder(tmp_path / "y", {"r": "blue", "s": "blue"})]
    scores = scores_of([*three, *more], tmp_path / "scores")
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", min_systems=2))
    found = systems_and_ranks(run)
    assert {prompt: set(systems) for prompt, systems in found.items()} == {
        "p": {"photos", "sd@1 step", "SD, slow", "x"},
        "q": {"photos", "sd@1 step", "SD, slow"},
        "r": {"x", "y"},
    }
    assert (RunFolder(run).finished or {})["prompts without an image of 2 systems or more"] == 1
    counts = "photos: 2, sd@1 step: 2, SD, slow: 2, x: 2, y: 2"
    assert f"3 of 4 prompts have images of 2 systems or more ({counts})" in capsys.readouterr().err
    some = scores_of([three[0], more[0]], tmp_path / "some")
    prefer_from_scores(FromScoresConfig(scores=some, out=tmp_path / "one", min_systems=2))
    assert "1 of 3 prompts have images of every system (photos: 2, x: 2), and the" in capsys.readouterr().err
    with pytest.raises(ValueError, match="min_systems must be 2 or above, not 1"):
        FromScoresConfig(scores=scores, out=tmp_path / "o", min_systems=1)


def test_a_scorer_of_one_run_alone_ranks_nothing_and_that_is_said(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = score(ScoreConfig(images=three[0], scorer=(BRIGHT, "image:contrast"), out=tmp_path / "a"))
    runs = (both, scores_of(three[1:], tmp_path / "b"))
    run = prefer_from_scores(FromScoresConfig(scores=runs, out=tmp_path / "run"))
    assert set(load_preferences(run)[0].scores) == {BRIGHT}
    assert "have scores of image:contrast, which therefore rank nothing" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["=photos", "real=", " = x"])
def test_a_source_without_its_name_or_folder_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"images are FOLDER or name=FOLDER, such as .*, not '{text}'"):
        ScoreConfig(images=(text,), scorer=(BRIGHT,), out=tmp_path / "o")


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "a=b", {"p": "red"})
    assert image_source(str(path)) == ImageSource(path)
    assert score(ScoreConfig(images=path, scorer=(BRIGHT,), out=tmp_path / "s")) == tmp_path / "s"


def test_filtered_images_of_several_systems_keep_their_names(three: list[Path], tmp_path: Path) -> None:
    images = (f"real={three[0]}", str(three[1]))
    scores = score(ScoreConfig(images=images, scorer=(BRIGHT,), out=tmp_path / "scores"))
    kept = filter_images(FilterConfig(scores=scores, top=1, out=tmp_path / "kept"))
    again = score(ScoreConfig(images=kept, scorer=(BRIGHT,), out=tmp_path / "again"))
    run = prefer_from_scores(FromScoresConfig(scores=again, out=tmp_path / "run"))
    assert systems_and_ranks(run)["p"] == {"real": 2, "sd@1 step": 1}
