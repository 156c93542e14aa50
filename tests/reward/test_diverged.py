"""A reward that diverges while it learns is no success, and one with NaN in it is refused."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file, save_file

from palate.core.errors import InputError
from palate.core.finite import NotFiniteError
from palate.reward.stage import train_reward
from palate.reward.testing import prompts_of_scorer
from palate.score.backbone import ClipBackbone
from palate.score.load import load_scorer


@pytest.mark.parametrize("train", ["head", "lora", "full"])
def test_a_far_too_high_learning_rate_ends_in_an_error(rankings, train):
    config = rankings(train=train, lr=1e38, warmup=0.0)
    with pytest.raises(NotFiniteError, match=r"training diverged (at|by) step \d+: .*a lower --lr"):
        train_reward(config)
    assert not (config.out / "model").exists() and not (config.out / "summary.json").exists()


def test_a_fold_that_diverges_stops_the_run(rankings, monkeypatch):
    from palate.reward.trainer import RewardTrainer

    train = RewardTrainer.train

    def spoiled(self, title):
        if title.startswith("fold 2"):
            self.model.head.layers[0].weight.data.fill_(float("nan"))
        train(self, title)

    monkeypatch.setattr(RewardTrainer, "train", spoiled)
    with pytest.raises(NotFiniteError, match="training diverged at step 1: not finite: loss"):
        train_reward(rankings(folds=3, steps=2))


def test_a_reward_with_a_weight_that_is_not_finite_is_refused_on_loading(rankings):
    run = train_reward(rankings(steps=2))
    weights = load_file(run / "model" / "head.safetensors")
    weights["layers.0.weight"][0, 0] = float("nan")
    save_file(weights, run / "model" / "head.safetensors")
    message = r"the weights of the reward in .*: not finite: 'head.layers.0.weight': 1 of \d+ values.*train it again"
    with pytest.raises(InputError, match=message):
        load_scorer(f"reward:{run}")


def test_features_that_are_not_finite_are_not_kept(rankings):
    config = rankings()
    features = ClipBackbone.image_features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClipBackbone, "image_features", lambda self, pixels: features(self, pixels) * float("inf"))
        with pytest.raises(NotFiniteError, match="'s features of images: not finite: .*give another --backbone"):
            train_reward(config)
    assert not config.out.exists()
    assert train_reward(config) == config.out  # nothing bad was cached


@pytest.mark.parametrize("backbone, anew", [("clip", True), ("statistics", False)])
def test_features_of_transformers_are_computed_anew_after_an_upgrade(
    rankings, tmp_path, monkeypatch, clip, backbone, anew
):
    settings = {"steps": 1, "cache": tmp_path / "cache", "backbone": {"clip": clip}.get(backbone, backbone)}
    train_reward(rankings(**settings))
    entries = {path.name for path in (tmp_path / "cache").glob("reward/*")}
    monkeypatch.setattr("palate.core.cache_folder.version", lambda _: "999.0")
    train_reward(rankings(**settings, out=tmp_path / "after"))
    assert (len({path.name for path in (tmp_path / "cache").glob("reward/*")} - entries) > 0) == anew


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"trained": 1}', '{"trained": [1]}', "null"])
def test_a_list_of_prompts_that_was_edited_is_named(rankings, content):
    run = train_reward(rankings(steps=1))
    (run / "model" / "prompts.json").write_text(content)
    with pytest.raises(InputError, match=r"prompts\.json is damaged \(.*\); train the reward again"):
        prompts_of_scorer(f"reward:{run}")


@pytest.mark.parametrize("content", ["[1]", "null", '"a"'])
def test_a_card_that_is_no_object_is_damage_of_the_reward(rankings, content):
    run = train_reward(rankings(steps=1))
    (run / "model" / "reward.json").write_text(content)
    with pytest.raises(InputError, match=r"the reward in .* is damaged \(reward\.json is .*, not an object\)"):
        load_scorer(f"reward:{run}")


@pytest.mark.parametrize("content", ["{", "[[1]]", '{"a": 1}', '[["a", "b", "c"]]'])
def test_a_fold_that_was_edited_is_named(rankings, content):
    config = rankings(steps=1, folds=2)
    run = train_reward(config)
    (run / "summary.json").unlink()
    (run / "folds" / "0.json").write_text(content)
    with pytest.raises(InputError, match=r"0\.json is damaged \(.*\); delete it, and the fold is trained again"):
        train_reward(config)
