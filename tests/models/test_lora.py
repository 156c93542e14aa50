import json
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from palate.core.errors import InputError
from palate.models.load import load_denoiser, resolve
from palate.models.lora import add_lora, save_lora, without_adapter
from palate.models.lora_file import LORA_FILE

X_T = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
T = {"eps": torch.tensor([10, 700]), "sdxl": torch.tensor([10, 700]), "sd3": torch.tensor([0.1, 0.7])}


def predict(denoiser, family):
    with torch.no_grad():
        return denoiser.predict(X_T, T[family], denoiser.encode_prompt(["a star", "two circles"]))


def wrap(like, pipeline):
    """The pipeline behind the adapter of another denoiser."""
    adapter: Any = type(like)
    return adapter(pipeline)


def stir(network):
    """Gives the adapter weights that change the output, as training would."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.3)


@pytest.mark.parametrize("family", ["eps", "sdxl", "sd3"])
def test_a_fresh_adapter_changes_nothing_and_a_stirred_one_can_be_switched_off(models, family):
    denoiser = load_denoiser(models[family])
    base = predict(denoiser, family)
    add_lora(denoiser.network, rank=2, alpha=2, targets=denoiser.lora_targets)
    assert torch.equal(predict(denoiser, family), base)
    stir(denoiser.network)
    assert not torch.allclose(predict(denoiser, family), base, atol=1e-3)
    with without_adapter(denoiser.network):
        assert torch.equal(predict(denoiser, family), base)
    assert not torch.allclose(predict(denoiser, family), base, atol=1e-3)


@pytest.mark.parametrize("alpha", [2.0, 8.0])
@pytest.mark.parametrize("family", ["eps", "sdxl", "sd3"])
def test_plain_diffusers_loads_the_saved_adapter_and_predicts_the_same(models, tmp_path, family, alpha):
    denoiser = load_denoiser(models[family])
    add_lora(denoiser.network, rank=2, alpha=alpha, targets=denoiser.lora_targets)
    stir(denoiser.network)
    save_lora(denoiser, denoiser.network, tmp_path, resolve(models[family]))
    absent = {"text_encoder_3": None, "tokenizer_3": None} if family == "sd3" else {}
    plain = DiffusionPipeline.from_pretrained(models[family], **absent)
    plain.load_lora_weights(tmp_path)
    expected = predict(denoiser, family)
    torch.testing.assert_close(predict(wrap(denoiser, plain), family), expected, atol=1e-5, rtol=1e-4)

    (tmp_path / "palate.json").write_text(json.dumps({"base": str(models[family])}))
    ours = load_denoiser(tmp_path)
    torch.testing.assert_close(predict(ours, family), expected, atol=1e-5, rtol=1e-4)


def test_adapters_stack_on_a_model_that_is_itself_an_adapter(models, tmp_path):
    for name, base in (("first", str(models["eps"])), ("second", str(tmp_path / "first"))):
        denoiser = load_denoiser(base)
        add_lora(denoiser.network, rank=2, alpha=2, targets=denoiser.lora_targets)
        stir(denoiser.network)
        save_lora(denoiser, denoiser.network, tmp_path / name, resolve(base))
        (tmp_path / name / "palate.json").write_text(json.dumps({"base": base}))
    source = resolve(tmp_path / "second")
    assert source.base == models["eps"] and [lora.path.name for lora in source.loras] == ["first", "second"]
    torch.testing.assert_close(predict(load_denoiser(source), "eps"), predict(denoiser, "eps"), atol=1e-5, rtol=1e-4)


def test_only_the_adapter_is_trainable_and_it_is_float32(models):
    denoiser = load_denoiser(models["eps"], dtype=torch.bfloat16)
    add_lora(denoiser.network, rank=2, alpha=2, targets=denoiser.lora_targets)
    trainable = {name: p.dtype for name, p in denoiser.network.named_parameters() if p.requires_grad}
    assert trainable and all("lora" in name for name in trainable)
    assert set(trainable.values()) == {torch.float32}


def test_the_adapters_start_depends_on_the_seed_alone(models):
    starts = []
    for seed, disturbance in ((3, 1), (3, 2), (4, 1)):
        denoiser = load_denoiser(models["eps"])
        torch.manual_seed(disturbance)
        before = torch.random.get_rng_state()
        add_lora(denoiser.network, rank=2, alpha=2, targets=denoiser.lora_targets, seed=seed)
        assert torch.equal(before, torch.random.get_rng_state())
        starts.append(torch.cat([p.flatten() for p in denoiser.network.parameters() if p.requires_grad]))
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


def test_a_target_that_is_no_layer_is_refused(models):
    with pytest.raises(InputError, match="no layer of the network is named 'to_query'"):
        add_lora(load_denoiser(models["eps"]).network, rank=2, alpha=2, targets=("to_query",))


def test_the_saved_file_has_the_name_that_diffusers_looks_for(models, tmp_path):
    denoiser = load_denoiser(models["eps"])
    add_lora(denoiser.network, rank=2, alpha=2, targets=denoiser.lora_targets)
    save_lora(denoiser, denoiser.network, tmp_path, resolve(models["eps"]))
    assert [path.name for path in tmp_path.iterdir()] == [LORA_FILE]
