"""Runs of `palate align` and what they leave behind."""

import json

import pytest
import torch

from palate.align.batches import Batches
from palate.align.stage import align


def run(config):
    return align(config, config.method())


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    from safetensors.torch import load_file

    files = sorted(folder.glob("model/**/*.safetensors"))
    return {f"{file.parent.name}/{name}": value for file in files for name, value in load_file(file).items()}


def assert_same_weights(first, second, **tolerance):
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys() and a
    for name in a:
        if tolerance:
            torch.testing.assert_close(a[name], b[name], **tolerance)
        else:
            assert torch.equal(a[name], b[name]), name


def run_until_interrupted(config, monkeypatch, at):
    """Runs until the `at`-th batch is to be made, where Ctrl-C strikes."""
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
