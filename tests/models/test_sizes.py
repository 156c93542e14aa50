"""A size is refused exactly if the model does not take it, and the message gives the nearest ones that it takes."""

import pytest
import torch

from palate.core.errors import InputError
from palate.generate.sampler import Sampler
from palate.models.families import sizes_of
from palate.models.load import load_denoiser, resolve
from palate.models.sizes import Sizes


@pytest.mark.parametrize(
    "side, fitting",
    [(500, "496 or 504"), (7, "8"), (1, "8"), (0, "8"), (-8, "8"), (1025, "1024"), (2000, "1024"), (12, "8 or 16")],
)
def test_a_side_that_does_not_fit_is_refused_with_the_nearest_that_do(side, fitting):
    with pytest.raises(InputError, match=f"resolution {side} does not fit .* multiples of 8 .*; give {fitting}$"):
        Sizes(native=512, multiple=8, largest=1024).require(side)


def test_height_and_width_are_checked_and_named_separately():
    sizes = Sizes(native=512, multiple=8)
    sizes.require(504, 4096)
    with pytest.raises(
        InputError, match="width 100 does not fit the model, whose sides are multiples of 8; give 96 or"
    ):
        sizes.require(512, 100)
    with pytest.raises(InputError, match="height 100"):
        sizes.require(100, 512)


def test_the_largest_side_is_named_as_a_multiple():
    with pytest.raises(InputError, match="give 48$"):
        Sizes(native=16, multiple=16, largest=50).require(64)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("family", ["eps", "sdxl", "sd3"])
@pytest.mark.parametrize("height, width", [(8, 8), (8, 16), (16, 16), (24, 8), (40, 16), (16, 24), (16, 32)])
def test_every_accepted_size_can_be_encoded_predicted_decoded_and_generated(models, family, height, width):
    source = resolve(models[family])
    try:
        sizes_of(source).require(height, width)
    except InputError:
        assert family == "sd3" and max(height, width) > 16  # it has position embeddings for 8 x 8 cells
        return
    denoiser = load_denoiser(source)
    x_0 = denoiser.encode(torch.rand(1, 3, height, width))
    t = denoiser.schedule((x_0.shape[-2], x_0.shape[-1])).sample_t(torch.tensor([0.5]))
    with torch.no_grad():
        assert denoiser.predict(x_0, t, denoiser.encode_prompt(["a"])).shape == x_0.shape
    assert denoiser.decode(x_0).shape == (1, 3, height, width)
    image = denoiser.pipeline("a", height=height, width=width, num_inference_steps=1).images[0]
    assert image.size == (width, height)


@pytest.mark.parametrize("name, largest", [("auraflow", 32), ("cogview-4", None), ("lumina-2", 256)])
def test_the_smallest_and_the_largest_sizes_are_drawn(twins, name, largest):
    sizes = sizes_of(resolve(twins[name]))
    assert sizes.largest == largest
    for side in (sizes.multiple, largest or 5 * sizes.multiple):
        sampler = Sampler(twins[name], device="cpu", steps=1, height=side, width=sizes.multiple)
        assert sampler.sample(["a star"], [0])[0].size == (sizes.multiple, side)


def test_position_embeddings_limit_a_transformer_s_pictures(models):
    source = resolve(models["sd3"])
    assert sizes_of(source) == Sizes(native=16, multiple=8, largest=16)
    with pytest.raises(InputError, match="multiples of 8 of at most 16; give 16"):
        sizes_of(source).require(24)


def test_the_sizes_of_a_family_without_an_adapter_are_read_from_its_configuration(models, tmp_path):
    import json
    import shutil

    copy = shutil.copytree(models["eps"], tmp_path / "copy")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "ShapEPipeline"}))
    assert sizes_of(resolve(copy)) == Sizes(native=16, multiple=2)
