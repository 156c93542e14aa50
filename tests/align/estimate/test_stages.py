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


def stages(dpo_config, folder, square, device="cpu", micro_batch=1, reference=True, **changes):
    config = dpo_config(model=str(folder), batch=4, micro_batch=micro_batch, **changes)
    setting = Setting(device, torch.bfloat16, square, 2, micro_batch, reference, ("two red circles", "a star"))
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
    def train(**changes):
        return stages(dpo_config, twins["flux-dev"], 16, reference=False, **changes)["train"]

    plain, checkpointed, larger = train(), train(gradient_checkpointing=True), train(micro_batch=4)
    assert checkpointed.working < plain.working < larger.working < 4.5 * plain.working
    full = train(train="full")
    trained = full.weights
    assert full.state == pytest.approx(3 * trained, rel=0.01)  # a gradient and AdamW's two moments, all in float32
    assert train(train="full", optimizer="adafactor").state < 1.5 * trained
    assert train(quantize="4bit").weights < plain.weights
    wider = train(device="cuda")
    assert wider.working >= plain.working  # norms are in float32 there
    there = train(device="cuda", gradient_checkpointing=True)
    assert there.working < wider.working


def test_a_traced_step_has_the_gradients_of_the_adapter_alone(dpo_config, twins):
    found = stages(dpo_config, twins["sd-eps"], 16)
    adapter = found["train"].weights - found["reference"].weights
    assert found["train"].state == pytest.approx(3 * adapter, rel=0.01)
