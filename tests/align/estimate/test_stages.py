"""Every family can be estimated, and its weights are counted as they are."""

import pytest
import torch
from torch import nn
from twins import TWINS

from palate.align.estimate.stages import Setting, bytes_of, trace_stages
from palate.models.load import load_denoiser, resolve

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning"),
]
FAST = ("flux-dev", "hidream", "sd-eps", "z-image")


def stages(dpo_config, folder, square, device="cpu", micro_batch=1, **changes):
    config = dpo_config(model=str(folder), batch=4, micro_batch=micro_batch, **changes)
    setting = Setting(device, torch.bfloat16, square, 2, micro_batch, True, ("two red circles", "a star"))
    return {stage.name: stage for stage in trace_stages(config, resolve(folder), setting)}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in TWINS]
)
def test_a_family_is_estimated_with_the_weights_that_it_has(dpo_config, twins, name):
    found = stages(dpo_config, twins[name], TWINS[name].square)
    denoiser = load_denoiser(twins[name], dtype=torch.bfloat16)
    loaded = load_denoiser(twins[name])
    encoders = [part for part in loaded.pipeline.components.values() if isinstance(part, nn.Module)]
    assert found["reference"].weights == bytes_of(denoiser.network)
    assert found["encode"].weights == sum(map(bytes_of, encoders)) - bytes_of(loaded.network)
    assert found["train"].weights > found["reference"].weights  # the adapter
    for stage in found.values():
        assert stage.working > 0 and all(part.flops > 0 for name, part in stage.parts.items() if name != "update")


def test_settings_change_memory_as_they_should(dpo_config, twins):
    folder = twins["flux-dev"]
    plain = stages(dpo_config, folder, 16)["train"]
    checkpointed = stages(dpo_config, folder, 16, gradient_checkpointing=True)["train"]
    larger = stages(dpo_config, folder, 16, micro_batch=4)["train"]
    assert checkpointed.working < plain.working < larger.working < 4.5 * plain.working
    full = stages(dpo_config, folder, 16, train="full")["train"]
    trained = full.weights
    assert full.state == pytest.approx(3 * trained, rel=0.01)  # a gradient and AdamW's two moments, all in float32
    assert stages(dpo_config, folder, 16, train="full", optimizer="adafactor")["train"].state < 1.5 * trained
    assert stages(dpo_config, folder, 16, quantize="4bit")["train"].weights < plain.weights
    wider = stages(dpo_config, folder, 16, device="cuda")["train"]
    assert wider.working >= plain.working  # norms are in float32 there
    there = stages(dpo_config, folder, 16, device="cuda", gradient_checkpointing=True)["train"]
    assert there.working < wider.working


def test_a_traced_step_has_the_gradients_of_the_adapter_alone(dpo_config, twins):
    train = stages(dpo_config, twins["sd-eps"], 16)["train"]
    adapter = train.weights - stages(dpo_config, twins["sd-eps"], 16)["reference"].weights
    assert train.state == pytest.approx(3 * adapter, rel=0.01)
