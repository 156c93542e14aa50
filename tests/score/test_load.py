"""A scorer is loaded once for each device, by default on the best one, and is removed when it is not in use."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_pipelines import random_clip

from palate.core import device as policy
from palate.core.errors import ConfigError, InputError
from palate.score.load import find_family, load_scorer, may_train, refuse_judge

pytestmark = pytest.mark.usefixtures("untrained_judges")


def test_a_scorer_in_use_is_returned_again(clip_folder: Path) -> None:
    assert load_scorer(f"clip:{clip_folder}") is load_scorer(f"clip:{clip_folder}", "cpu")


def test_a_scorer_that_is_not_in_use_is_removed_from_memory(clip_folder: Path) -> None:
    scorer = load_scorer(f"clip:{clip_folder}")
    weights = weakref.ref(next(scorer._clip.network.parameters()))  # type: ignore[attr-defined]
    assert weights() is not None
    del scorer
    gc.collect()
    assert weights() is None


def test_the_measures_of_one_judge_share_one_network() -> None:
    utility, unsafe = load_scorer("teacher:utility"), load_scorer("teacher:unsafe")
    assert utility._reader is unsafe._reader  # type: ignore[attr-defined]
    network = weakref.ref(utility._reader.network)  # type: ignore[attr-defined]
    del utility, unsafe
    gc.collect()
    assert network() is None


def test_each_device_has_its_own_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "best_device", lambda: "meta")
    best, named = load_scorer("teacher:utility"), load_scorer("teacher:utility", "cpu")
    devices = [next(each._reader.network.parameters()).device.type for each in (best, named)]  # type: ignore[attr-defined]
    assert devices == ["meta", "cpu"]


@pytest.mark.parametrize("family", ["clip", "teacher"])
def test_a_scorer_is_on_the_best_device_by_default(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(policy, "best_device", lambda: "meta")
    scorer = load_scorer({"clip": f"clip:{clip_folder}", "teacher": "teacher:appeal"}[family])
    network = scorer._clip.network if family == "clip" else scorer._reader.network  # type: ignore[attr-defined]
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_a_missing_device_is_refused_with_a_clear_message() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ConfigError, match="no device 'cuda:3' on this machine; leave device out"):
        load_scorer("teacher:appeal", "cuda:3")


def test_a_model_that_changed_on_disk_is_loaded_again_while_the_old_one_is_held(tmp_path: Path) -> None:
    folder = random_clip(tmp_path / "clip")
    before = load_scorer(f"clip:{folder}")
    weights = next(folder.glob("*.safetensors"))
    tensors = {name: tensor + 1.0 for name, tensor in load_file(weights).items() if tensor.is_floating_point()}
    save_file({**load_file(weights), **tensors}, tmp_path / "other", metadata={"format": "pt"})
    (tmp_path / "other").replace(weights)
    after = load_scorer(f"clip:{folder}")
    assert after is not before
    assert after.fingerprint() != before.fingerprint()


def test_a_fingerprint_depends_on_the_weights_and_not_on_the_folder(clip_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(clip_folder)
    assert load_scorer(f"clip:{moved}").fingerprint() == load_scorer(f"clip:{clip_folder}").fingerprint()
    assert load_scorer("teacher:utility").fingerprint() != load_scorer("auditor:utility").fingerprint()


def test_a_judge_of_results_may_not_train_and_everything_else_may() -> None:
    assert not may_train("auditor:faithful")
    assert all(may_train(column) for column in ("teacher:utility", "clip:x", "aesthetic_score", "python:a:b"))
    with pytest.raises(InputError, match="'auditor:faithful' cannot rank: the auditor judges results"):
        refuse_judge("auditor:faithful", "rank")


def test_a_family_that_is_not_there_is_refused_with_examples() -> None:
    with pytest.raises(InputError, match=r"'clp:x' has no known family; did you mean 'clip'.*python:<module>:<name>"):
        find_family("clp:x")


def test_a_family_alone_has_its_released_weights_and_its_column_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from palate.core.plugins import ScorerFamily
    from palate.score import load
    from palate.score.image import ImageScorer

    family = ScorerFamily("palate.score.image:ImageScorer", "picture", default="brightness")
    monkeypatch.setitem(load.BUILT_IN, "picture", family)
    scorer = load_scorer("picture")
    assert isinstance(scorer, ImageScorer) and scorer.name == "picture"
    assert load_scorer("picture:brightness") is scorer
    assert load_scorer("picture:contrast").name == "image:contrast"
