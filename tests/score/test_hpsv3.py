"""HPSv3 on a random Qwen2-VL with a reward head in its authors' names, against the definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoTokenizer, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from twins.twin import seeded

from palate.core.errors import InputError
from palate.score import hpsv3
from palate.score.hpsv3 import REWARD, fitted, hpsv3_from_released, read_instruction
from palate.score.load import load_scorer

PROMPTS = ["a red star", "two blue circles on a green background"]
INSTRUCTION = "rate it for {text_prompt} : " + REWARD + " end"
CHAT = (
    "{% for message in messages %}<{{ message.role }}>{% for part in message.content %}"
    "{% if part.type == 'image' %}<|image_pad|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, and a file with its tensors and those of a head by their released names."""
    folder = tmp_path_factory.mktemp("hpsv3")
    tokenizer = seeded()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image_pad|>"]})
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    words = len(tokenizer) + 1  # with the reward token, which the scorer adds
    text = {"vocab_size": words, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": tokenizer.pad_token_id}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 16, "patch_size": 14, "mlp_ratio": 2}
    image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    torch.manual_seed(0)
    config = Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=image, video_token_id=words - 2)
    model = Qwen2VLForConditionalGeneration(config)
    config.save_pretrained(folder)
    processor = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    for place, (into, out) in zip((0, 3, 5), ((16, 12), (12, 6), (6, 2))):
        tensors[f"rm_head.{place}.weight"], tensors[f"rm_head.{place}.bias"] = torch.randn(out, into), torch.randn(out)
    save_file({name: value.clone() for name, value in tensors.items()}, folder / "HPSv3.safetensors")
    (folder / "instruction.txt").write_text(INSTRUCTION)
    return folder / "HPSv3.safetensors"


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40 + 30 * i, 60, 3), dtype=np.uint8)) for i in range(2)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of four patches: a random network's cost."""
    monkeypatch.setattr(hpsv3, "PIXELS", 4 * 28 * 28)


def spec(checkpoint: Path) -> str:
    return f"hpsv3:{checkpoint}@{checkpoint.parent}/instruction.txt"


@pytest.mark.shows("hpsv3", "formula")
@torch.no_grad()
def test_the_score_is_the_mean_at_the_reward_token_of_prompt_and_image(
    checkpoint: Path, images: list[Image.Image]
) -> None:
    from safetensors.torch import load_file

    tensors, folder = load_file(checkpoint), checkpoint.parent
    own, config = {k: v for k, v in tensors.items() if "rm_" not in k}, Qwen2VLConfig.from_pretrained(folder)
    model: Any = Qwen2VLForConditionalGeneration.from_pretrained(None, config=config, state_dict=own)
    tokenizer, expected = AutoTokenizer.from_pretrained(folder), []
    tokenizer.add_special_tokens({"additional_special_tokens": [REWARD]})
    processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")
    for image, prompt in zip(images, PROMPTS):
        seen = processor(images=[fitted(image)], return_tensors="pt")
        patches = int(seen["image_grid_thw"].prod()) // 4
        ids = tokenizer(f"<user>{'<|image_pad|>' * patches}{INSTRUCTION.format(text_prompt=prompt)}").input_ids
        place = torch.arange(len(ids)).expand(3, 1, -1)
        hidden = model.model(input_ids=torch.tensor([ids]), position_ids=place, **seen).last_hidden_state[0]
        x = hidden[ids.index(tokenizer.convert_tokens_to_ids(REWARD))]
        for layer in (0, 3, 5):
            x = tensors[f"rm_head.{layer}.weight"] @ x + tensors[f"rm_head.{layer}.bias"]
            x = x.clamp(min=0) if layer < 5 else x
        expected.append(x[0])
    scores = load_scorer(spec(checkpoint))(images, PROMPTS)
    torch.testing.assert_close(scores, torch.stack(expected), atol=1e-4, rtol=1e-3)
    assert len(set(scores.tolist())) == 2


def test_a_score_depends_on_the_image_and_the_prompt_and_not_on_the_batch(
    checkpoint: Path, images: list[Image.Image]
) -> None:
    scorer = load_scorer(spec(checkpoint))
    together = scorer(images, PROMPTS)
    alone = torch.cat([scorer([image], [prompt]) for image, prompt in zip(images, PROMPTS)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    swapped = scorer(images, PROMPTS[::-1]), scorer(images[::-1], PROMPTS)
    assert all((each - together).abs().min() > 1e-4 for each in swapped)


@pytest.mark.parametrize(
    "size, expected",
    [
        ((448, 448), (448, 448)),
        ((512, 512), (448, 448)),
        ((29, 29), (448, 448)),
        ((256, 256), (448, 448)),
        ((1920, 1080), (588, 336)),  # sqrt(1920 x 1080 / 200704) = 3.2143: 597.3 and 336.0, rounded down to 28
        ((1024, 2048), (308, 616)),  # 3.2325: 316.8 and 633.6
        ((100, 300), (280, 784)),  # times 2.5865: 258.6 and 775.9, rounded up
    ],
)
def test_images_have_the_authors_sizes(size: Any, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpsv3, "PIXELS", 256 * 28 * 28)
    assert fitted(Image.new("RGB", size)).size == expected


def test_a_prompt_with_a_token_of_the_model_is_refused(checkpoint: Path, images: list[Image.Image]) -> None:
    with pytest.raises(InputError, match=r"hpsv3 cannot read the prompt 'a <\|Reward\|>', which contains"):
        load_scorer(spec(checkpoint))(images[:1], ["a <|Reward|>"])


def test_names_of_older_and_newer_versions_find_the_same_places() -> None:
    one = torch.zeros(1)
    older = {"visual.merger.mlp.0.bias": one, "model.layers.0.mlp.up_proj.weight": one, "model.norm.weight": one}
    newer = {"model.visual.merger.mlp.0.bias": one, "model.language_model.layers.0.mlp.up_proj.weight": one}
    newer |= {"model.language_model.norm.weight": one, "lm_head.weight": one}
    assert hpsv3_from_released(older).keys() == hpsv3_from_released(newer).keys()


def test_the_instruction_is_read_from_an_installed_package_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "hpsv3"
    (package / "dataset").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    lines = ["raise SystemExit", "INSTRUCTION = 'for {text_prompt}: '", f"prompt_with_special_token = '{REWARD}'"]
    (package / "dataset" / "data_collator_qwen.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    assert read_instruction(None) == "for {text_prompt}: " + REWARD


def test_what_is_missing_is_named_before_weights_are_read(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"which is its authors': .*pip install --no-deps hpsv3, or name a file"):
        load_scorer(f"hpsv3:{checkpoint}")
    (tmp_path / "wrong.txt").write_text("rate it")
    with pytest.raises(InputError, match=r"wrong\.txt has no text with \{text_prompt\} and <\|Reward\|>"):
        load_scorer(f"hpsv3:{checkpoint}@{tmp_path}/wrong.txt")
    with pytest.raises(InputError, match="there is no file"):
        load_scorer(f"hpsv3:{tmp_path}/none.safetensors@{checkpoint.parent}/instruction.txt")
    save_file({"rm_head.0.weight": torch.zeros(2, 2)}, checkpoint.parent / "head.safetensors")
    with pytest.raises(InputError, match="lacks 6 tensors of this scorer, such as 'head.0.bias'"):
        load_scorer(f"hpsv3:{checkpoint.parent}/head.safetensors@{checkpoint.parent}/instruction.txt")
