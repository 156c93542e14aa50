"""The built-in model learns from real human rankings."""

import json
import math

import pytest
from trained import implicit_accuracy

from palate.align.stage import align
from palate.models.load import builtin_models


@pytest.mark.skipif("tiny-sd" not in builtin_models(), reason="the built-in weights are not there")
def test_dpo_learns_the_rankings_of_hpdv2(dpo_config, shared_data):
    """30 prompts, about nine images each, ten people's rankings; the model is tested with noise that is new to it."""
    preferences = shared_data / "hpdv2_test30"
    folder = align(
        dpo_config(
            model="tiny-sd",
            preferences=str(preferences),
            steps=60,
            batch=16,
            lr=1e-3,
            warmup=0.1,
            beta=100.0,
            prompt_dropout=0.0,
            precision="auto",
        )
    )
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    late = losses[-len(losses) // 3 :]
    assert sum(late) / len(late) < math.log(2) - 0.02  # log 2 is the loss at the start
    assert implicit_accuracy(folder, preferences) > 0.6  # about a thousand pairs: chance is 0.5 +- 0.016
