import pytest
from single_files import SingleFiles
from tiny_pipelines import random_sd3, random_sdxl, random_stable_diffusion


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of random pipelines by name."""
    root = tmp_path_factory.mktemp("models")
    return {
        "eps": random_stable_diffusion(root / "eps"),
        "v": random_stable_diffusion(root / "v", prediction_type="v_prediction"),
        "sdxl": random_sdxl(root / "sdxl"),
        "sd3": random_sd3(root / "sd3"),
    }


@pytest.fixture(scope="session")
def files(twins, tmp_path_factory):
    """The twins as single files by name."""
    return SingleFiles(twins, tmp_path_factory.mktemp("files"))
