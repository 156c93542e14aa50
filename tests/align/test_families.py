"""Every family is trained, and what training leaves is its own pipeline's, on a small twin with random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from shapes import picture
from trained import lines, run, weights
from twins import TWINS

from palate.align.methods.kto import KTOConfig
from palate.models.buckets import BucketGrid
from palate.models.families import adapter_of, sizes_of
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

pytestmark = [
    # Kolors' text encoder of diffusers uses torch.jit.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # by diffusers' own Chroma
    # Trained weights stay in float32 beside activations in bfloat16: torch's fused RMS norm then steps aside.
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning"),
]
COMMON = {"steps": 2, "batch": 2, "log_every": 1, "prompt_dropout": 0.5}


@pytest.fixture(scope="module")
def tiny(twins, tmp_path_factory) -> Callable[..., dict[str, Any]]:
    """The settings of a short run on a twin, with its smallest square images and two prompts of unequal length."""
    path = tmp_path_factory.mktemp("few") / "pairs.parquet"
    pairs = [(picture(n, True, (16, 16)), picture(n + 100, False, (16, 16))) for n in range(2)]
    write_sets([RankedSet(prompt, pair, (1, 2)) for prompt, pair in zip(("a star", "two red stars"), pairs)], path)
    few = {**COMMON, "preferences": str(path)}
    return lambda name, **more: {**few, "model": str(twins[name]), "resolution": TWINS[name].square, **more}


@pytest.fixture(scope="module")
def runs() -> dict[str, Path]:
    return {}


@pytest.fixture
def by_lora(runs, dpo_config, tiny, tmp_path_factory) -> Callable[[str], Path]:
    """A run of DPO on a twin by LoRA, of which several tests look at what it leaves."""

    def found(name: str) -> Path:
        if name not in runs:
            out = tmp_path_factory.mktemp("lora") / "run"
            runs[name] = run(dpo_config(**tiny(name, train="lora", beta=100.0, out=out)))
        return runs[name]

    return found


def prediction(denoiser: Any, square: int) -> torch.Tensor:
    """What a denoiser predicts of one noise and prompt, for a picture of a width and height in pixels."""
    shape = denoiser.encode(torch.zeros(1, 3, square, square)).shape
    x_t = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u = torch.tensor([0.6])
    with torch.no_grad():
        t = denoiser.schedule(tuple(shape[-2:])).sample_t(u)
        return denoiser.predict(x_t, t, denoiser.encode_prompt(["a star"]))


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize(
    "train, more",
    [
        ("full", {"precision": "bf16", "latents": "streamed"}),
        pytest.param("lora", {"precision": "bf16", "latents": "streamed"}, marks=pytest.mark.slow),
        pytest.param("full", {}, marks=pytest.mark.slow),
    ],
    ids=["full-bf16-streamed", "lora-bf16-streamed", "full"],
)
def test_dpo_begins_at_its_reference_and_changes_the_network(dpo_config, tiny, name, train, more):
    assert_begins_at_its_reference_and_changes(run(dpo_config(**tiny(name, train=train, beta=100.0, **more))))


@pytest.mark.parametrize("name", TWINS)
def test_dpo_by_lora_begins_at_its_reference_and_changes_the_network(by_lora, name):
    assert_begins_at_its_reference_and_changes(by_lora(name))


def assert_begins_at_its_reference_and_changes(folder: Path) -> None:
    first, last = lines(folder)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6) and first["margin"] == 0
    assert last["error_winner"] != last["error_ref_winner"]


@pytest.mark.parametrize("name", TWINS)
def test_a_saved_lora_is_loaded_by_plain_diffusers_and_predicts_what_was_trained(by_lora, twins, name, monkeypatch):
    folder, square, adapter = by_lora(name), TWINS[name].square, adapter_of(resolve(twins[name]))
    plain = load_pipeline(twins[name])
    base = prediction(adapter(plain), square)
    theirs = prediction(adapter(with_lora(plain, folder / "model", monkeypatch)), square)
    ours = prediction(load_denoiser(folder), square)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-4)
    assert (ours - base).abs().max() > 1e-4


@pytest.mark.parametrize("name", TWINS)
def test_a_saved_pipeline_is_opened_by_plain_diffusers_and_only_its_network_has_changed(
    sft_config, twins, tiny, name, tmp_path
):
    """It is trained on images of several shapes, at two resolutions."""
    source = resolve(twins[name])
    shapes, several = several_shapes(source, TWINS[name].square, tmp_path / "pairs.parquet")
    folder = run(sft_config(**{**tiny(name, train="full"), **several}))
    assert json.loads((folder / "summary.json").read_text())["buckets"].keys() == shapes
    pipeline = DiffusionPipeline.from_pretrained(folder / "model", **absent(source))
    base = load_pipeline(twins[name])
    for part in source.parts():
        if hasattr(getattr(base, part), "state_dict"):
            before, after = getattr(base, part).state_dict(), getattr(pipeline, part).state_dict()
            same = all(torch.equal(value, after[key]) for key, value in before.items())
            assert same == (part != source.network), part
    square = TWINS[name].square
    ours, theirs = load_denoiser(folder), adapter_of(source)(pipeline)
    torch.testing.assert_close(prediction(theirs, square), prediction(ours, square))


def several_shapes(source: Any, square: int, path: Path) -> tuple[set[str], dict[str, Any]]:
    """The sizes of a run on a square, a wide and a tall image at two resolutions, and the settings of that run."""
    sizes = sizes_of(source)
    low, high = (square // 2, square) if sizes.largest == square else (square, 2 * square)
    shapes = [(low, low), (4 * high, high), (3 * low // 4, 9 * low // 4)]  # only the second fills the high resolution
    images = [picture(number, True, shape) for number, shape in enumerate(shapes)]
    write_sets([RankedSet("a star", (each, picture(9, False, shapes[0])), (1, 2)) for each in images], path)
    wide, tall = BucketGrid.of(sizes, [high]).buckets[-1], BucketGrid.of(sizes, [low])
    tall = tall.buckets[tall.nearest(np.array(shapes[2:]), np.zeros(1, int))[0]]
    # The twins of SD3 have too few positions for other shapes, and some others for those of one resolution.
    assert sizes.largest == square or wide.width > wide.height or tall.width < tall.height
    return {f"{low} x {low}", str(wide), str(tall)}, {"preferences": str(path), "resolution": (low, high), "batch": 3}


def with_lora(plain: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pipeline with a saved LoRA, loaded as diffusers does, or as the README says where diffusers does not."""
    if hasattr(plain, "load_lora_weights"):
        plain.load_lora_weights(folder)
        return plain
    monkeypatch.chdir(folder)
    code = Path("README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["pipe"]


def absent(source: Any) -> dict[str, None]:
    return {part: None for part, kind in source.parts().items() if kind is None}


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_kto_and_sft_train_it_by_lora(config_of, sft_config, world, tiny, name, tmp_path):
    for number, (config, feedback) in enumerate([(config_of(KTOConfig), "thumbs"), (sft_config(), "pairs")]):
        more = {"preferences": str(world[feedback]), "out": tmp_path / str(number)}
        changed = type(config)(**{**vars(config), **tiny(name, **more)})
        assert any(value.abs().max() > 0 for key, value in weights(run(changed)).items() if "lora_B" in key)
