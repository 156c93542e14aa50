"""The settings of today's preference methods in the trainer: a safeguard, an automatic beta, soft votes, weightings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from trained import assert_same_weights, lines, method_of, run, run_until_interrupted

from palate.align.methods.alpha_dpo import AlphaDPOConfig
from palate.align.methods.cpo import CPOConfig
from palate.align.methods.dmpo import DMPOConfig
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.linear_dpo import LinearDPOConfig
from palate.align.methods.listwise import ListwiseConfig
from palate.align.methods.mapo import MaPOConfig
from palate.align.methods.method import Measured
from palate.core.errors import ConfigError, InputError
from palate.prefer.load import load_preferences
from palate.records.columns import Rankings
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet, Vote

A, B, C = (StoredImage(name.encode()) for name in "abc")
SETTINGS = {"train": "full", "steps": 4, "lr": 1e-3, "log_every": 1, "optimizer": "adafactor"}
VARIANTS = [
    (DPOConfig, {"safeguard": 0.5, "weighting": "min_snr"}),
    (CPOConfig, {"beta": "auto"}),
    (ListwiseConfig, {"beta": "auto", "safeguard": 0.5, "weighting": "debiased", "preferences": "lists"}),
    (LinearDPOConfig, {"reference_ema": 0.9}),
]


def ids(value):
    return getattr(value, "__name__", "-".join(value) if isinstance(value, dict) else None)


@pytest.mark.parametrize("kind, changes", VARIANTS, ids=ids)
def test_the_weights_do_not_depend_on_how_a_batch_is_split(config_of, world, tmp_path, kind, changes):
    if "preferences" in changes:
        changes = {**changes, "preferences": str(world[changes["preferences"]])}
    whole = run(config_of(kind, **SETTINGS, **changes, out=tmp_path / "whole"))
    split = run(config_of(kind, **SETTINGS, **changes, out=tmp_path / "split", micro_batch=1))
    for one, other in zip(lines(whole), lines(split), strict=True):
        del one["accuracy"], other["accuracy"]  # at first a matter of rounding
        assert one == pytest.approx(other, rel=5e-2, abs=5e-3) and np.isfinite(list(one.values())).all()


@pytest.mark.parametrize(
    "kind, changes",
    [(DPOConfig, {"beta": "auto"}), (LinearDPOConfig, {"reference_ema": 0.9, "ema": 0.5})],
    ids=ids,
)
def test_an_interrupted_run_goes_on_with_its_average_bit_for_bit(config_of, tmp_path, monkeypatch, kind, changes):
    settings = {**changes, "steps": 9, "log_every": 2, "batch": 5, "checkpoint_every": 4}
    undisturbed = run(config_of(kind, **settings, out=tmp_path / "undisturbed"))
    config = config_of(kind, **settings, out=tmp_path / "disturbed")
    run_until_interrupted(config, monkeypatch, at=7)
    resumed = run(config)
    assert_same_weights(undisturbed, resumed)
    assert lines(undisturbed) == lines(resumed)


def test_an_automatic_beta_starts_at_the_published_one_and_follows_the_margins(config_of):
    metrics = lines(run(config_of(DPOConfig, **{**SETTINGS, "steps": 20}, beta="auto")))
    assert metrics[0]["beta"] == metrics[1]["beta"] == 2000
    late = [abs(line["margin"]) for line in metrics[10:]]
    assert 0.3 < np.mean(late) < 5  # log 4 = 1.39 where every pair is ordered correctly
    assert metrics[-1]["beta"] != metrics[10]["beta"]


def test_the_reference_of_linear_dpo_follows_the_model_and_nothing_is_measured_before(config_of, tmp_path):
    settings = {**SETTINGS, "steps": 12, "lr": 2e-3}
    followed = run(config_of(LinearDPOConfig, **settings, reference_ema=0.5, out=tmp_path / "followed"))
    fixed = run(config_of(LinearDPOConfig, **settings, reference_ema=0.0, out=tmp_path / "fixed"))
    first = lines(followed)[0]
    assert first["error_winner"] == pytest.approx(first["error_average_winner"], rel=1e-5)
    assert not any(name.startswith("error_ref") for name in first)  # the base model's, by which a run is judged
    near, far = (
        np.mean([abs(line["error_loser"] - line[f"error_{reference}_loser"]) for line in lines(folder)[6:]])
        for folder, reference in ((followed, "average"), (fixed, "ref"))
    )
    assert 0 < near < far
    assert not (followed / "timings.json").exists() or "reference" not in (followed / "timings.json").read_text()
    assert "reference" in (fixed / "timings.json").read_text()


def test_a_safeguard_and_a_weighting_change_the_weights_and_not_the_first_loss(config_of, tmp_path):
    settings = {**SETTINGS, "steps": 1}
    plain = run(config_of(DPOConfig, **settings, out=tmp_path / "plain"))
    guarded = run(config_of(DPOConfig, **settings, safeguard=0.9, out=tmp_path / "guarded"))
    weighted = run(config_of(DPOConfig, **settings, weighting="min_snr", out=tmp_path / "weighted"))
    assert lines(plain)[0]["loss"] == lines(guarded)[0]["loss"]
    assert lines(plain)[0]["error_winner"] == lines(weighted)[0]["error_winner"]  # errors are logged as they are
    for other in (guarded, weighted):
        with pytest.raises(AssertionError):
            assert_same_weights(plain, other)


def test_the_losers_gradient_of_every_pair_method_is_scaled_for_each_pair():
    products = torch.tensor([[[0.2, 0.4], [0.4, 1.0]], [[0.2, -0.4], [-0.4, 1.0]]])
    for kind in (DPOConfig, CPOConfig, MaPOConfig, DMPOConfig, AlphaDPOConfig, LinearDPOConfig):
        found = []
        for mu in (None, 0.5):
            method = method_of(kind, safeguard=mu)
            assert method.products == (mu is not None)
            error = products.diagonal(dim1=1, dim2=2).clone().requires_grad_()
            measured = Measured(error, error.detach() + 0.01, torch.zeros(2, 0), products=products if mu else None)
            loss, _ = method.loss(measured)
            found.append(torch.autograd.grad(loss.sum(), error)[0])
        torch.testing.assert_close(found[1][:, 0], found[0][:, 0])
        torch.testing.assert_close(found[1][:, 1], found[0][:, 1] * torch.tensor([0.25, 1.0]))


VOTED = [
    RankedSet("p", (A, B), (2, 1), (Vote("x", (2, 1)), Vote("y", (2, 1)), Vote("z", (1, 2)), Vote("w", (1, 1)))),
    RankedSet("q", (A, B, C), (1, 2, 3), (Vote("x", (1, 2, 3)), Vote("y", (2, 1, 3)), Vote("z", (1, 2, 3)))),
]


def test_the_shares_of_pairs_are_those_of_their_raters_with_ties_as_halves():
    examples = method_of(DPOConfig, soft_votes="labels").examples(Rankings.of(VOTED))
    assert examples.facts.squeeze(1).tolist() == pytest.approx([2.5 / 4, 2 / 3, 1, 1])
    assert method_of(DPOConfig).examples(Rankings.of(VOTED)).facts.shape == (4, 0)


def test_lists_have_each_ranking_of_the_raters_once_in_the_order_of_the_images():
    examples = method_of(ListwiseConfig, soft_votes=True).examples(Rankings.of(VOTED))
    ranks, votes = examples.facts[:, :3].tolist(), examples.facts[:, 3:].reshape(2, 3, 4)
    assert ranks == [[1, 2, 0], [1, 2, 3]]
    first = {tuple(vote) for vote in votes[0].tolist()}  # B, the winner, is the first image
    assert first == {(0.5, 1, 2, 0), (0.25, 2, 1, 0), (0.25, 1, 1, 0)}
    second = sorted(votes[1].tolist())
    assert second == [[0, 0, 0, 0], [pytest.approx(1 / 3), 2, 1, 3], [pytest.approx(2 / 3), 1, 2, 3]]


@pytest.mark.parametrize(
    "kind, soft", [(DPOConfig, "labels"), (DPOConfig, "margins"), (CPOConfig, "labels"), (ListwiseConfig, True)]
)
def test_a_run_learns_from_soft_votes(config_of, world, tmp_path, kind, soft):
    votes = (*(Vote(name, (1, 2)) for name in "xyz"), Vote("w", (2, 1)))
    sets = [dataclasses.replace(each, votes=votes) for each in load_preferences(world["pairs"])]
    write_sets(sets, tmp_path / "voted.parquet")
    folder = run(config_of(kind, preferences=str(tmp_path / "voted.parquet"), beta=200.0, soft_votes=soft, steps=4))
    assert lines(folder)[-1]["loss"] < lines(folder)[0]["loss"] + 0.1


@pytest.mark.parametrize("kind, soft", [(DPOConfig, "margins"), (CPOConfig, "labels"), (ListwiseConfig, True)])
def test_votes_without_shares_are_refused(kind, soft):
    method = method_of(kind, soft_votes=soft)
    with pytest.raises(InputError, match="soft votes need the raters' votes, and 1 of 2 ranked sets have none; leave"):
        method.examples(Rankings.of([VOTED[0], RankedSet("r", (A, B), (1, 2))]))
    lonely = RankedSet("r", (A, B), (1, 2), (Vote("x", (1, 2)),))
    with pytest.raises(InputError, match=rf"every set has one vote, so {method.name} is the same"):
        method.examples(Rankings.of([lonely]))


def test_a_negative_model_learns_every_ranking_upside_down():
    pairs = method_of(DPOConfig, reverse=True).examples(Rankings.of(VOTED))
    data = [[pairs.images[image].data for image in pairs.image[views]] for views in pairs.view]
    assert data == [[b"a", b"b"], [b"b", b"a"], [b"c", b"a"], [b"c", b"b"]]
    shares = method_of(DPOConfig, reverse=True, soft_votes="labels").examples(Rankings.of(VOTED)).facts
    assert shares.squeeze(1).tolist() == pytest.approx([2.5 / 4, 2 / 3, 1, 1])
    lists = method_of(ListwiseConfig, reverse=True).examples(Rankings.of(VOTED))
    assert lists.facts.tolist() == [[1, 2, 0], [1, 2, 3]]
    assert [lists.images[image].data for image in lists.image[lists.view[1]]] == [b"c", b"b", b"a"]


@pytest.mark.parametrize(
    "kind, changes, message",
    [
        (DPOConfig, {"safeguard": 1.0}, "safeguard must be at least 0 and below 1, or left out, not 1.0"),
        (DPOConfig, {"mask": 0.0}, "mask must be above zero or left out"),
        (DPOConfig, {"beta": "auto", "link": "ipo"}, "beta auto is for the link sigmoid, not ipo"),
        (DPOConfig, {"beta_target": 0.5}, "beta_target must be above 0 and below 0.5, not 0.5"),
        (CPOConfig, {"soft_votes": "labels", "smoothing": 0.1}, "soft_votes labels gives each pair its own smoothing"),
        (DPOConfig, {"snr_gamma": 0.0}, "snr_gamma must be above zero"),
        (DMPOConfig, {"alpha": 0.5}, "alpha must be above 0 and below 0.5, not 0.5"),
        (AlphaDPOConfig, {"alpha": 1.0}, "alpha must be above 0 and below 1, not 1.0"),
        (LinearDPOConfig, {"floor": 0.5, "reference_ema": 1.0}, "floor must be at least 0.*; reference_ema must be"),
    ],
)
def test_impossible_settings_are_refused(config_of, kind, changes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        config_of(kind, **changes)
