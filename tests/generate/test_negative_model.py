"""A negative model takes the place of the unconditional branch of guidance, in every family for which it is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_pipelines import random_stable_diffusion
from torch.utils._pytree import tree_leaves
from twins import TWINS

from palate.core.errors import InputError
from palate.generate import negative_model
from palate.generate.negative_model import require_negative
from palate.generate.sampler import Sampler
from palate.generate.stage import GenerateConfig, generate
from palate.models.load import load_pipeline
from palate.models.source import resolve

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # by diffusers' own Chroma
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),  # Kolors' text encoder
]
GUIDED = ("sd-eps", "sdxl", "sd3", "pixart-sigma", "sana", "auraflow", "kolors", "cogview-4", "chroma", "qwen-image")
GUIDED += ("lumina-2",)
REFUSED = ("flux-dev", "flux2-klein", "hidream", "hunyuan-image", "z-image")
PROMPTS, SEEDS = ["a cat", "two dogs"], [0, 1]
SETTINGS: dict[str, Any] = {"device": "cpu", "steps": 2, "guidance": 3.0}


@pytest.fixture(autouse=True)
def load_each_pipeline_once() -> None:
    """Not here: a negative model changes how a loaded network is called."""


def pixels(sampler: Sampler) -> np.ndarray:
    return np.stack([np.asarray(image, float) for image in sampler.sample(PROMPTS, SEEDS)])


def seen_texts(calls: list[Any], wanted: torch.Tensor) -> list[torch.Tensor]:
    """The rows of text embeddings among the inputs of calls, those with the last dimension of `wanted` [L, D]."""
    leaves = [leaf for call in calls for leaf in tree_leaves(call) if isinstance(leaf, torch.Tensor)]
    return [row for leaf in leaves if leaf.ndim == 3 and leaf.shape[1:] == wanted.shape for row in leaf]


@pytest.mark.parametrize("name", GUIDED)
def test_the_negative_prompt_and_nothing_else_goes_to_the_negative_model(
    twins: Mapping[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with the model itself as its negative the images are what they are without one."""
    calls: dict[str, list[Any]] = {"positive": [], "negative": []}
    use = negative_model.use_negative

    def spied(network: torch.nn.Module, other: torch.nn.Module, passes: Any) -> None:
        for which, each in (("positive", network), ("negative", other)):
            forward = each.forward

            def record(*args: Any, which: str = which, forward: Any = forward, **kwargs: Any) -> Any:
                calls[which].append((args, kwargs))
                return forward(*args, **kwargs)

            each.forward = record
        use(network, other, passes)

    monkeypatch.setattr(negative_model, "use_negative", spied)
    settings = {**SETTINGS, "height": TWINS[name].square, "width": TWINS[name].square}
    plain = Sampler(twins[name], **settings)
    guided = Sampler(twins[name], **settings, negative_model=twins[name])
    np.testing.assert_allclose(pixels(guided), pixels(plain), atol=1.01)
    assert len(calls["positive"]) == len(calls["negative"]) >= 2
    given = guided._inputs(PROMPTS)  # what the pipeline is given
    positive, negatives = given.get("prompt_embeds"), given.get("negative_prompt_embeds")
    assert isinstance(positive, torch.Tensor) and isinstance(negatives, torch.Tensor)
    for which, own, other in (("positive", positive, negatives), ("negative", negatives, positive)):
        rows = seen_texts(calls[which], own[0])
        assert any(torch.allclose(row, own[0], atol=1e-4) for row in rows)
        assert not any(torch.allclose(row, other[0], atol=1e-6) for row in rows if row.shape == other[0].shape)


def test_another_model_changes_the_image_and_guides_by_the_formula(twins: Mapping[str, Path], tmp_path: Path) -> None:
    """At a scale of 2 guidance is `2 positive - negative`; with a negative network that gives zeros it doubles."""
    sampler = Sampler(twins["sd-eps"], **{**SETTINGS, "guidance": 2.0}, negative_model=twins["sd-eps"])
    rows = torch.rand(4, 4, 8, 8)
    text = torch.rand(4, 77, sampler.pipeline.unet.config.cross_attention_dim)
    plain = load_pipeline(resolve(twins["sd-eps"])).unet
    with torch.no_grad():
        found = sampler.pipeline.unet(rows, torch.tensor(5), encoder_hidden_states=text, return_dict=False)[0]
        expected = plain(rows, torch.tensor(5), encoder_hidden_states=text).sample
        as_class = sampler.pipeline.unet(rows, torch.tensor(5), encoder_hidden_states=text).sample
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(as_class, expected, atol=1e-5, rtol=1e-4)
    other = random_stable_diffusion(tmp_path / "other", seed=3)
    with_other = Sampler(twins["sd-eps"], **SETTINGS, negative_model=other)
    assert np.abs(pixels(with_other) - pixels(Sampler(twins["sd-eps"], **SETTINGS))).max() > 5


@pytest.mark.parametrize("name", REFUSED)
def test_a_pipeline_that_guides_in_its_own_way_is_refused_before_weights(twins: Mapping[str, Path], name: str) -> None:
    with pytest.raises(InputError, match="negative_model is not built for .*, which guides in a way of its own; leave"):
        require_negative(resolve(twins[name]), resolve(twins[name]))


def test_a_negative_model_of_another_family_and_a_scale_without_guidance_are_refused(
    twins: Mapping[str, Path], tmp_path: Path
) -> None:
    shared = {"prompts": "unseen", "limit": 1, "images": 1, "device": "cpu", "steps": 1}
    out, model = tmp_path / "run", str(twins["sd-eps"])
    with pytest.raises(InputError, match="negative_model .*sd3 is of another family than .*; give one"):
        generate(GenerateConfig(model=model, negative_model=str(twins["sd3"]), out=out, **shared))
    assert not out.exists()
    with pytest.raises(InputError, match="needs guidance, and a scale of 1 turns it off; give --guidance above 1"):
        generate(GenerateConfig(model=model, negative_model=model, guidance=1.0, out=out, **shared))
