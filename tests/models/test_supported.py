import json

import diffusers
import pytest

from palate.cli.main import main
from palate.core.errors import InputError
from palate.models.families import FAMILIES, UNSUPPORTED, adapter_of
from palate.models.source import ModelSource
from palate.models.stable_diffusion import StableDiffusion
from palate.models.supported import ModelsConfig, list_models, supported_families

# Kolors' text encoder of diffusers uses torch.jit.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def test_every_family_that_can_be_trained_is_listed_with_what_its_adapter_says():
    found = {each.pipeline: each for each in supported_families()}
    assert set(found) == set(FAMILIES)
    assert found["FluxPipeline"].predicts == "velocity" and "ff.net.0.proj" in found["FluxPipeline"].lora_targets
    assert found["StableDiffusionPipeline"].predicts.startswith("eps or v")
    assert found["StableDiffusionPipeline"].native_sizes == (512, 768)
    assert all(each.lora_targets and each.native_sizes for each in found.values())
    assert found["FluxPipeline"].single_file and not found["SanaPipeline"].single_file


def test_a_pipeline_is_either_trained_or_not_and_diffusers_knows_both():
    assert not set(FAMILIES) & set(UNSUPPORTED)
    assert [name for name in (*FAMILIES, *UNSUPPORTED) if not hasattr(diffusers, name)] == []


def test_the_list_as_json_has_the_same_families_and_reasons(capsys):
    assert main(["models", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["pipeline"] for each in printed["supported"]] == [each.pipeline for each in supported_families()]
    assert printed["unsupported"] == UNSUPPORTED


def test_the_list_in_words_names_every_pipeline_and_every_reason():
    shown = "\n".join(list_models(ModelsConfig()))
    assert all(name in shown for name in (*FAMILIES, *UNSUPPORTED, *UNSUPPORTED.values()))
    assert shown.count("one file:") == 4 and "BASE+LORA.safetensors:0.8" in shown


@pytest.mark.parametrize("pipeline", UNSUPPORTED)
def test_the_refusal_of_a_model_gives_the_reason_of_the_list(tmp_path, pipeline):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    with pytest.raises(InputError) as refused:
        adapter_of(ModelSource(tmp_path))
    assert UNSUPPORTED[pipeline] in str(refused.value)


def test_a_package_that_a_family_needs_is_named_before_anything_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    monkeypatch.setattr(StableDiffusion, "needs", ("sentencepiece", "no_such_package"))
    with pytest.raises(InputError, match=r"needs .*no_such_package: pip install .*no_such_package"):
        adapter_of(ModelSource(tmp_path))
    assert "no_such_package (not installed)" in "\n".join(list_models(ModelsConfig()))
