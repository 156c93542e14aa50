"""The statistics of an image measure what their names say."""

import pytest
import torch
from PIL import Image

from palate.score.base import to_tensor
from palate.score.image_statistics import NAMES, SIDE, image_statistics


def of(image: torch.Tensor, name: str) -> float:
    return image_statistics(image.unsqueeze(0))[0, NAMES.index(name)].item()


def noise(contrast: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.5 + contrast * (torch.rand(3, SIDE, SIDE, generator=generator) - 0.5)


def flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(3, 1, 1).expand(3, SIDE, SIDE).contiguous()


def test_every_statistic_has_a_name_and_is_finite_also_of_a_flat_image() -> None:
    for image in (noise(), flat(0, 0, 0), flat(1, 1, 1), flat(0.2, 0.9, 0.1)):
        values = image_statistics(image.unsqueeze(0))
        assert values.shape == (1, len(NAMES)) and values.isfinite().all()


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("brightness", flat(0.9, 0.9, 0.9), flat(0.1, 0.1, 0.1)),
        ("contrast", noise(1.0), noise(0.2)),
        ("sharpness", noise(1.0), noise(0.2)),
        ("jpeg", noise(1.0), flat(0.5, 0.5, 0.5)),
        ("saturation", flat(1.0, 0.0, 0.0), flat(0.6, 0.5, 0.5)),
        ("warmth", flat(1.0, 0.5, 0.0), flat(0.0, 0.5, 1.0)),
        ("greenness", flat(0.0, 1.0, 0.0), flat(1.0, 0.0, 1.0)),
        ("flat", flat(0.5, 0.5, 0.5), noise()),
        ("black", flat(0, 0, 0), flat(1, 1, 1)),
        ("white", flat(1, 1, 1), flat(0, 0, 0)),
    ],
)
def test_each_statistic_increases_with_the_property_that_it_measures(
    name: str, more: torch.Tensor, less: torch.Tensor
) -> None:
    assert of(more, name) > of(less, name)


def test_statistics_of_the_centre_differ_from_those_of_the_rest() -> None:
    image = flat(0.5, 0.5, 0.5).clone()
    image[:, SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4] = noise()[:, : SIDE // 2, : SIDE // 2]
    assert of(image, "centre_sharpness") > 0.5 > of(noise(), "centre_sharpness")


def test_mirroring_keeps_the_symmetry_and_a_symmetric_image_has_the_maximum() -> None:
    half = noise()[:, :, : SIDE // 2]
    assert of(torch.cat([half, half.flip(2)], 2), "symmetry") == 0
    assert of(noise(), "symmetry") == pytest.approx(of(noise().flip(2), "symmetry"))


def test_a_batch_may_have_images_of_different_sizes() -> None:
    images = [Image.effect_noise(size, 60).convert("RGB") for size in ((64, 64), (300, 200), (40, 90))]
    torch.testing.assert_close(image_statistics(images), torch.cat([image_statistics([image]) for image in images]))


def test_a_tensor_and_pil_images_measure_the_same() -> None:
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    torch.testing.assert_close(image_statistics(to_tensor([image])), image_statistics([image]))
