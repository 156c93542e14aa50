"""Existing rankings ranked again by scorers, and cleaned of what these contradict."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import stored

from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.from_scores import ALL_TIED
from palate.prefer.load import load_preferences
from palate.prefer.relabel import RelabelConfig, relabel
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet, Vote

WHITE, GREY, BLACK = stored("white"), stored("grey"), stored("black")
SETS = [
    RankedSet("agrees", (BLACK, WHITE), (2, 1), votes=(Vote("ann", (2, 1)),)),
    RankedSet("reversed", (BLACK, GREY, WHITE), (1, 2, 2)),
    RankedSet("tied by people", (BLACK, WHITE), (1, 1)),
    RankedSet("nobody ranked it", (GREY, WHITE)),
]


@pytest.fixture
def source(tmp_path: Path) -> str:
    write_sets(SETS, tmp_path / "sets.parquet")
    return str(tmp_path / "sets.parquet")


def test_every_set_gets_the_scorers_ranking_and_its_scores(source: str, tmp_path: Path) -> None:
    run = relabel(RelabelConfig(preferences=source, scorer=("image:brightness",), out=tmp_path / "run"))
    found = load_preferences(run)
    assert [each.ranks for each in found] == [(2, 1), (3, 2, 1), (2, 1), (2, 1)]
    assert found[0].votes == (Vote("image:brightness", (2, 1)),)
    assert found[0].scores["image:brightness"] == pytest.approx((0.0, 1.0))
    summary = RunFolder(run).finished or {}
    assert summary["of people's pairs kept"] == 1 and summary["of people's pairs reversed"] == 2


def test_cleaning_keeps_only_sets_of_which_no_pair_is_reversed_with_their_own_ranking(source, tmp_path) -> None:
    config = RelabelConfig(preferences=source, scorer=("image:brightness",), keep="agreed", out=tmp_path / "run")
    assert [(each.prompt, each.ranks) for each in load_preferences(relabel(config))] == [
        ("agrees", (2, 1)),
        ("tied by people", (1, 1)),
    ]
    assert (RunFolder(tmp_path / "run").finished or {})["sets dropped"] == 2


def test_scores_within_the_margin_are_tied(source: str, tmp_path: Path) -> None:
    config = RelabelConfig(preferences=source, scorer=("image:brightness",), margin=0.6, out=tmp_path / "run")
    assert [each.ranks for each in load_preferences(relabel(config))] == [(2, 1), (2, 1, 1), (2, 1), (1, 1)]


def test_scorers_of_one_vote_each_that_contradict_each_other_make_a_tie(source: str, tmp_path: Path) -> None:
    scorers = ("image:brightness", "image:compressibility", "image:incompressibility")
    config = RelabelConfig(preferences=source, scorer=scorers[1:], out=tmp_path / "run")
    assert load_preferences(relabel(config))[3].ranks == (1, 1)


def test_scorers_can_be_summed_by_weight_over_the_spread_of_all_sets(source: str, tmp_path: Path) -> None:
    scorers = ("image:incompressibility", "image:compressibility")

    def ranks(name: str, weights: tuple[float, ...]) -> list[tuple[int, ...] | None]:
        asked = {"scorer": scorers[: len(weights)], "combine": "sum", "weights": weights}
        run = relabel(RelabelConfig(preferences=source, out=tmp_path / name, **asked))
        return [each.ranks for each in load_preferences(run)]

    assert ranks("even", (1.0, 1.0)) == [(1, 1), (1, 1, 1), (1, 1), (1, 1)]
    assert ranks("uneven", (2.0, 1.0)) == ranks("alone", (1.0,)) != ranks("other", (1.0, 2.0))


def test_sets_of_which_the_scorers_agree_on_no_pair_are_counted(source: str, tmp_path: Path) -> None:
    scorers = ("image:compressibility", "image:incompressibility")
    config = RelabelConfig(preferences=source, scorer=scorers, combine="agree", out=tmp_path / "run")
    assert {each.ranks for each in load_preferences(relabel(config))} == {(1, 1), (1, 1, 1)}
    assert (RunFolder(tmp_path / "run").finished or {})[ALL_TIED] == 4


def test_weights_and_margins_are_one_a_scorer(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="margin has 2 values for 1 scorers .image:brightness.; give one each"):
        RelabelConfig(preferences=source, scorer=("image:brightness",), margin=(0.1, 0.2), out=tmp_path / "run")


def test_the_auditor_labels_nothing(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the auditor judges results"):
        relabel(RelabelConfig(preferences=source, scorer=("auditor:faithful",), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_command(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--preferences", source, "--scorer", "image:brightness", "--out", str(tmp_path / "run")]
    assert main(["prefer", "relabel", *arguments]) == 0
    assert "1 of people's pairs kept" in capsys.readouterr().out
    assert main(["prefer", "relabel", *arguments, "--margin", "-1"]) == 2
