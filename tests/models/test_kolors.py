"""Kolors: more timesteps than SDXL, and a pipeline that needs a negative prompt if it forces zeros."""

import json
import shutil

import pytest
import torch

from palate.generate.sampler import Sampler
from palate.models.load import load_denoiser

# Kolors' text encoder of diffusers uses torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def test_all_of_its_1100_timesteps_are_trained(twins):
    schedule = load_denoiser(twins["kolors"], without=("vae",)).schedule((8, 8))
    assert schedule.sample_t(torch.tensor([0.0, 0.9999])).tolist() == [0, 1099]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_no_prompt_is_the_empty_one_even_where_the_pipeline_forces_zeros(twins, tmp_path):
    folder = shutil.copytree(twins["kolors"], tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": True}))
    found = load_denoiser(folder).encode_prompt([None, ""])
    for name in ("embeddings", "pooled"):
        absent, empty = found.dense(name)
        assert torch.equal(absent, empty) and empty.abs().max() > 0
    Sampler(folder, device="cpu", steps=1, guidance=4.0, height=16, width=16).sample(["a star"], [0])
