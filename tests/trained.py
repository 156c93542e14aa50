"""Helpers for tests: runs of `palate align`, and the files that they write."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from palate.align.batches import Batches
from palate.align.stage import align
from palate.prefer.load import load_preferences
from palate.records.columns import Rankings
from palate.reward.comparisons import Comparisons
from palate.score.implicit import ImplicitScorer


def run(config):
    return align(config, config.method())


def method_of(kind, **settings):
    """The method of a configuration that no run will have."""
    return kind(model="none", preferences="none", out=Path("none"), **settings).method()


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    from safetensors.torch import load_file

    files = sorted(folder.glob("model/**/*.safetensors"))
    return {f"{file.parent.name}/{name}": value for file in files for name, value in load_file(file).items()}


def implicit_accuracy(folder, preferences, draws=2):
    """How often a model's implicit reward ranks a pair as people did."""
    scorer, sets = ImplicitScorer(str(folder), "cpu", draws), load_preferences(str(preferences))
    scores = [scorer([image.open() for image in each.images], [each.prompt] * len(each.images)) for each in sets]
    padded = pad_sequence(scores, batch_first=True).double().numpy()  # [S, n]: sets may differ in size
    return Comparisons.of(Rankings.of(sets), padded).accuracy().value


def assert_same_weights(first, second, **tolerance):
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys() and a
    for name in a:
        if tolerance:
            torch.testing.assert_close(a[name], b[name], **tolerance)
        else:
            assert torch.equal(a[name], b[name]), name


def run_until_interrupted(config, monkeypatch, at):
    """Runs until batch number `at`, at which Ctrl-C is simulated."""
    make, calls = Batches.make, []

    def interrupted_make(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return make(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "make", interrupted_make)
        with pytest.raises(KeyboardInterrupt):
            run(config)
