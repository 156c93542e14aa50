"""A run that diverges stops with an error that names the step, and keeps the last good checkpoint."""

from __future__ import annotations

import json

import pytest
from trained import lines, run

from palate.core.finite import NotFiniteError
from palate.core.runs import RunFolder
from palate.training.checkpoint import checkpoints


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_far_too_high_learning_rate_ends_in_an_error(dpo_config, train):
    config = dpo_config(train=train, lr=1e30, clip=1e30, warmup=0.0, steps=20, log_every=1)
    with pytest.raises(
        NotFiniteError, match=r"training diverged (at|by) step \d+: .*a lower --lr.*\(now 1e\+30, 0 and"
    ):
        run(config)
    assert not (config.out / "model").exists() and RunFolder(config.out).finished is None
    for line in lines(config.out) if (config.out / "metrics.jsonl").is_file() else []:
        json.dumps(line, allow_nan=False)
        assert None not in line.values()


def test_the_last_good_checkpoint_is_kept_and_the_same_command_diverges_again_from_it(sft_config, monkeypatch):
    from palate.align.trainer import Trainer

    config = sft_config(train="full", steps=12, checkpoint_every=2, keep_checkpoints=1)
    rate = type(config).rate
    monkeypatch.setattr(type(config), "rate", lambda self, step: rate(self, step) if step < 6 else 1e38)
    with pytest.raises(NotFiniteError, match="the last good checkpoint is step-6"):
        run(config)
    assert [path.name for path in checkpoints(config.out / "checkpoints")] == ["step-6"]
    step, begun = Trainer.step, []
    monkeypatch.setattr(Trainer, "step", lambda self, number: (begun.append(number), step(self, number)))
    with pytest.raises(NotFiniteError):
        run(config)
    assert begun[0] == 6


def test_a_discriminator_that_diverges_stops_the_run_too(sft_config):
    with pytest.raises(NotFiniteError, match="training diverged"):
        run(sft_config(adversarial=1e-9, discriminator_lr=1e38, steps=6, log_every=1))


def test_metrics_that_some_lines_lack_are_summarised_over_the_others(dpo_config, monkeypatch):
    from palate.align.methods.dpo import DPO

    loss, calls = DPO.loss, []

    def sometimes(self, measured):
        calls.append(1)
        value, metrics = loss(self, measured)
        return value, {**metrics, "rare": value.detach()} if len(calls) > 5 else metrics

    monkeypatch.setattr(DPO, "loss", sometimes)
    folder = run(dpo_config(steps=6, log_every=1))
    assert "rare" not in lines(folder)[0]
    assert "rare" in json.loads((folder / "summary.json").read_text())["last_tenth"]
