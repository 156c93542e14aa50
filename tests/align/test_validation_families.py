"""Every family is validated without its text encoders in memory: the first samples are its own pipeline's images."""

import numpy as np
import pytest
from PIL import Image
from trained import run
from twins import TWINS

from palate.core.errors import InputError
from palate.generate.image_plan import plan_images
from palate.generate.sampler import Sampler

pytestmark = [
    # Kolors' text encoder of diffusers uses torch.jit.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # by diffusers' own Chroma
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning"),
]
PROMPTS = ["a star", "three very large red stars on a blue background"]


QUICK = ("sd-eps", "sdxl", "sd3", "flux-schnell", "z-image")
FAMILIES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TWINS if name != "sdxl-refiner"
]
"""The refiner draws none from a prompt; several others take seconds to build."""


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_samples_are_those_of_the_base_model(dpo_config, twins, name, tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    size, steps = TWINS[name].square, 2
    common = {"model": str(twins[name]), "resolution": size, "steps": 1, "batch": 2, "validate_every": 5}
    folder = run(dpo_config(**common, validation_prompts=str(tmp_path / "prompts.txt"), validation_steps=steps))
    sampler = Sampler(twins[name], device="cpu", steps=steps, height=size, width=size)
    for number, item in enumerate(plan_images(PROMPTS, 1)):
        expected = np.asarray(sampler.sample([item.prompt], [item.seed])[0]).astype(int)
        drawn = np.asarray(Image.open(folder / "samples" / "step-0" / f"{number:05d}-000.png")).astype(int)
        assert np.abs(drawn - expected).max() <= 1  # an encoder's batch of sixteen prompts rounds differently


def test_a_model_that_draws_no_images_from_prompts_is_refused(dpo_config, twins):
    config = dpo_config(model=str(twins["sdxl-refiner"]), validation_prompts="unseen")
    with pytest.raises(InputError, match="draws none from a prompt; leave validation_prompts out, and give held_out"):
        run(config)
    assert not config.out.exists()
