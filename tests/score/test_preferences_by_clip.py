"""PickScore, CLIPScore, HPS v2 and the aesthetic heads on random weights, against their formulas."""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip_twin import SIDE, image_features, random_open_clip, text_features
from PIL import Image
from transformers import AutoTokenizer, CLIPModel, CLIPProcessor

from palate.core.errors import InputError
from palate.score import aesthetic, hpsv2, pickscore
from palate.score.base import to_tensor
from palate.score.checkpoint_files import read_weights
from palate.score.load import load_scorer
from palate.score.pixels import CLIP_MEAN, CLIP_STD, cropped, padded

CAPTIONS = [f"{number} red circles" for number in range(6)]


def pictures(width: int = 64, height: int = 64) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 4, 4, 3), np.uint8)
    return [Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC) for each in coarse]


def cosines(folder: Path, images: list[Image.Image], texts: list[str]) -> torch.Tensor:
    """Of images and texts under a CLIP, by transformers alone."""
    model: Any = CLIPModel.from_pretrained(folder)
    processor: Any = CLIPProcessor.from_pretrained(folder)
    batch = processor(text=texts, images=images, return_tensors="pt", padding=True, truncation=True)
    found = model(**batch)
    return (found.image_embeds * found.text_embeds).sum(-1).detach()


@pytest.mark.shows("pickscore", "formula")
def test_pickscore_loads_its_weights_from_one_place_and_its_preprocessing_from_another(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(clip_folder / name, weights)
    monkeypatch.setattr(pickscore, "MODEL", str(weights))
    monkeypatch.setattr(pickscore, "PROCESSOR", str(clip_folder))
    scorer = load_scorer(f"pickscore:{weights}")
    model: Any = CLIPModel.from_pretrained(clip_folder)
    expected = model.logit_scale.exp().item() * cosines(clip_folder, pictures(40, 30), CAPTIONS)
    torch.testing.assert_close(scorer(pictures(40, 30), CAPTIONS), expected)
    assert scorer.name == f"pickscore:{weights}"


@pytest.mark.shows("clipscore", "formula")
def test_clipscore_is_two_and_a_half_times_the_positive_cosine_with_the_prefix(clip_folder: Path) -> None:
    scorer, captions = load_scorer(f"clipscore:{clip_folder}"), ["the night", "circle"] * 3
    cosine = cosines(clip_folder, pictures(), [f"A photo depicts {caption}" for caption in captions])
    assert cosine[::2].min() > 0 > cosine[1::2].max()
    torch.testing.assert_close(scorer(pictures(), captions), 2.5 * cosine.clamp(min=0))


@pytest.fixture
def hps(tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkpoint as HPS has it, its tensors and its tokenizer."""
    monkeypatch.setattr(hpsv2, "PROCESSOR", str(clip_folder))
    tokenizer: Any = AutoTokenizer.from_pretrained(clip_folder)
    tensors = random_open_clip(len(tokenizer))
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "hps.pt")
    return tmp_path / "hps.pt", tensors, tokenizer


def surrounded(image: Image.Image) -> torch.Tensor:
    """The longest side at 24 pixels, in the middle of black, normalised [1, 3, 24, 24]; written anew from the paper."""
    scale = SIDE / max(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (SIDE, SIDE))
    canvas.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    pixels = torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1)[None].float() / 255
    return (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


@pytest.mark.parametrize("size", [(48, 48), (40, 30), (30, 41), (24, 24), (12, 20)])
@pytest.mark.shows("hpsv2", "formula")
def test_hps_is_the_cosine_of_open_clip_s_features_of_the_surrounded_image(hps: Any, size: tuple[int, int]) -> None:
    file, tensors, tokenizer = hps
    scores = load_scorer(f"hpsv2:{file}")(pictures(*size), CAPTIONS)
    for score, image, caption in zip(scores, pictures(*size), CAPTIONS):
        text = text_features(tensors, tokenizer(caption, truncation=True, max_length=32).input_ids)
        expected = (image_features(tensors, surrounded(image)) * text).sum()
        assert score.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_published_form_of_hps_resizes_without_smoothing(hps: Any) -> None:
    file, *_ = hps
    images = pictures(200, 100)
    plain, published = (load_scorer(f"hpsv2:{file}{form}") for form in ("", "-published"))
    expected = F.interpolate(to_tensor(images), (12, 24), mode="bicubic", align_corners=False)
    torch.testing.assert_close(padded(images, 24, antialias=False)[:, :, 6:18], expected)
    assert (published(images, CAPTIONS) - plain(images, CAPTIONS)).abs().max() > 1e-4
    assert published.fingerprint() != plain.fingerprint()


def _spec(family: str, clip_folder: Path, hps: Any) -> str:
    """A scorer of a family with random weights."""
    if family == "hpsv2":
        return f"hpsv2:{hps[0]}"
    if family == "aesthetic":
        head = {"weight": torch.linspace(-1, 1, 8)[None], "bias": torch.zeros(1)}
        torch.save(head, hps[0].with_name("head.pth"))
        return f"aesthetic:{hps[0].with_name('head.pth')}@{clip_folder}"
    return f"{family}:{clip_folder}"


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=pytest.mark.shows(name, "gradient"))
        for name in ("pickscore", "clipscore", "hpsv2", "aesthetic")
    ],
)
def test_a_score_has_the_gradient_of_a_small_step(
    family: str, clip_folder: Path, hps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickscore, "PROCESSOR", str(clip_folder))
    scorer = load_scorer(_spec(family, clip_folder, hps))
    images = to_tensor(pictures()).clamp(0.1, 0.9).requires_grad_()
    captions = ["the night"] * 6  # CLIPScore is above its lower end, 0
    (gradient,) = torch.autograd.grad(scorer(images, captions).sum(), images)
    step = 0.02 * gradient / gradient.norm()
    with torch.no_grad():
        change = scorer(images + step, captions).sum() - scorer(images - step, captions).sum()
    assert scorer.differentiable and gradient.norm() > 0
    assert change.item() == pytest.approx(2 * 0.02 * gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("how", [cropped, padded])
@pytest.mark.parametrize("size", [(64, 64), (50, 30), (31, 64), (20, 11), (24, 24)])
def test_the_differentiable_preprocessing_is_pil_s_up_to_rounding(how: Any, size: tuple[int, int]) -> None:
    exact = how(pictures(*size), 24)
    tensor = to_tensor(pictures(*size)).requires_grad_()
    twin = how(tensor, 24)
    assert exact.shape == twin.shape == (6, 3, 24, 24)
    assert (exact - twin).abs().max() <= 2 / 255
    assert torch.autograd.grad(twin.sum(), tensor)[0].abs().sum() > 0


@pytest.mark.parametrize("name", ["clip.pt", "nothing.pt", "text.pt", "code.pt"])
def test_a_file_that_is_no_checkpoint_of_hps_is_refused_in_one_line(hps: Any, tmp_path: Path, name: str) -> None:
    _, tensors, _ = hps
    made = {
        "clip.pt": lambda path: torch.save({key: tensors[key] for key in tensors if "ln_post" not in key}, path),
        "text.pt": lambda path: path.write_text("rubbish"),
        "code.pt": lambda path: torch.save({"state_dict": Path("x")}, path),
        "nothing.pt": lambda path: None,
    }
    made[name](tmp_path / name)
    complaint = {
        "clip.pt": "lacks 2 tensors of this scorer, such as 'visual.ln_post.bias'",
        "text.pt": "is not a file of weights|holds more than weights",
        "code.pt": "holds more than weights",
        "nothing.pt": "HPS has no version",
    }
    with pytest.raises(InputError, match=complaint[name]) as caught:
        load_scorer(f"hpsv2:{tmp_path / name}")
    assert "\n" not in str(caught.value)


WIDTHS = (8, 7, 6, 5, 4, 1)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.shows("aesthetic", "formula")
def test_an_aesthetic_score_is_its_linear_layers_of_the_unit_feature(
    clip_folder: Path, tmp_path: Path, version: str
) -> None:
    generator = torch.Generator().manual_seed(1)
    widths = (8, 1) if version == "v1" else WIDTHS
    layers = [
        (torch.randn(after, before, generator=generator), torch.randn(after, generator=generator))
        for before, after in pairwise(widths)
    ]
    names = [""] if version == "v1" else [f"layers.{number}." for number in (0, 2, 4, 6, 7)]
    state = {
        f"{name}{kind}": value for name, layer in zip(names, layers) for kind, value in zip(("weight", "bias"), layer)
    }
    torch.save(state, tmp_path / "head.pth")
    scorer = load_scorer(f"aesthetic:{tmp_path}/head.pth@{clip_folder}")
    model: Any = CLIPModel.from_pretrained(clip_folder)
    processor: Any = CLIPProcessor.from_pretrained(clip_folder)
    found = model.get_image_features(**processor(images=pictures(), return_tensors="pt"))
    expected = F.normalize(getattr(found, "pooler_output", found), dim=1).detach()
    for weight, bias in layers:
        expected = expected @ weight.T + bias
    torch.testing.assert_close(scorer(pictures(), [""] * 6), expected[:, 0], atol=1e-4, rtol=1e-4)
    assert not scorer.reads_prompt and math.isfinite(scorer(pictures(), [""] * 6).sum().item())


@pytest.mark.shows("aesthetic", "weights of a part")
@pytest.mark.parametrize("name, width", [("vit_b_32", 512), ("vit_b_16", 512), ("vit_l_14", 768)])
def test_the_released_heads_of_v1_are_read(shared_data: Path, name: str, width: int) -> None:
    """With the features of another network, as OpenAI's CLIP is not here: the head alone is the released one."""
    file = shared_data / "weights" / f"sa_0_4_{name}_linear.pth"
    if not file.is_file():
        pytest.skip(f"there is no {file}")
    head = aesthetic.head_of(file, read_weights(file))
    weights = torch.load(file, weights_only=True)
    assert (len(head), head[0].in_features) == (1, width)
    features = F.normalize(torch.randn(3, width, generator=torch.Generator().manual_seed(0)), dim=1)
    expected = [float(features[row] @ weights["weight"][0] + weights["bias"][0]) for row in range(3)]
    assert head(features)[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert all(1 < each < 10 for each in expected)  # of any picture, as ratings are


def test_a_head_that_does_not_fit_its_clip_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1, 9), "bias": torch.zeros(1)}, tmp_path / "head.pth")
    with pytest.raises(InputError, match="reads 9 features, and the CLIP has 8"):
        load_scorer(f"aesthetic:{tmp_path}/head.pth@{clip_folder}")
    with pytest.raises(InputError, match="reads 9 features of an unknown CLIP; name it"):
        load_scorer(f"aesthetic:{tmp_path}/head.pth")
    with pytest.raises(InputError, match="there is no aesthetic head 'v3'"):
        load_scorer("aesthetic:v3")


@pytest.mark.shows("clipscore", "package", "weights")
@pytest.mark.parametrize("captions, published", [("good", 0.8584), ("bad", 0.7153)])
def test_the_released_clip_gives_the_published_clipscores(shared_data: Path, captions: str, published: float) -> None:
    """The mean over the authors' two example images; runs where the weights are in the hub's cache."""
    folder = shared_data / "reference_images" / "clipscore"
    try:
        scorer = load_scorer("clipscore")
    except InputError as error:
        pytest.skip(str(error))
    texts = json.loads((folder / f"{captions}_captions.json").read_text())
    names = sorted(texts)
    images = [Image.open(folder / "images" / f"{name}.jpg") for name in names]
    scores = scorer(images, [texts[name] for name in names])
    assert scores.mean().item() == pytest.approx(published, abs=5e-4)
