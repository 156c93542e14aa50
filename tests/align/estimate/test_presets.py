"""A preset is a choice of settings whose estimated memory fits its card."""

from dataclasses import replace

import pytest
import torch
from true_size import TRUE_SIZE

from palate.align.estimate.machine import CUDA_CONTEXT
from palate.align.estimate.presets import CARDS, MARGIN, PROMPT, preset_settings
from palate.align.estimate.stages import Setting, trace_stages
from palate.core.config import given_fields
from palate.core.errors import InputError
from palate.models.families import sizes_of
from palate.models.source import resolve

IMPOSSIBLE: set[tuple[str, str]] = {("flux", "8gb"), ("flux", "12gb")}


def test_a_given_value_wins_over_the_presets(dpo_config, tmp_path):
    config = dpo_config(batch=16, preset="8gb")
    chosen = preset_settings(config)
    assert chosen == {
        "micro_batch": 8,
        "gradient_checkpointing": False,
        "quantize": None,
        "optimizer": "adamw",
        "encode_on": "device",
    }
    assert "micro_batch" not in preset_settings(replace(config, micro_batch=2), given=("micro_batch",))
    file = tmp_path / "given.yaml"
    file.write_text("optimizer: adafactor\n")
    given = given_fields(type(config), ["--config", str(file), "--micro-batch", "2", "--no-gradient-checkpointing"])
    assert given == {"optimizer", "micro_batch", "gradient_checkpointing"}


def test_a_training_that_fits_with_no_settings_is_refused_in_one_line(dpo_config, monkeypatch):
    monkeypatch.setitem(CARDS, "8gb", 0.001)
    with pytest.raises(InputError, match="the smallest settings need one of 0.. GiB") as raised:
        preset_settings(dpo_config(preset="8gb"))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("name", TRUE_SIZE)
def test_a_preset_fits_its_card_at_the_native_resolution_with_the_margin(dpo_config, tmp_path, name, card):
    folder = TRUE_SIZE[name](tmp_path / name)
    config = dpo_config(model=str(folder), preset=card, batch=64, precision="auto")
    if (name, card) in IMPOSSIBLE:
        with pytest.raises(InputError, match="does not fit a card"):
            preset_settings(config)
        return
    config = replace(config, **preset_settings(config))
    side = sizes_of(resolve(folder)).native
    setting = Setting("cuda", torch.bfloat16, side, 2, config.micro_batch or 64, True, (PROMPT,))
    stages = [
        stage
        for stage in trace_stages(config, resolve(folder), setting)
        if stage.name != "encode" or config.encode_on == "device"
    ]
    assert max(stage.bytes for stage in stages) + CUDA_CONTEXT <= (1 - MARGIN) * CARDS[card] * 2**30
