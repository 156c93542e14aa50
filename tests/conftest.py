"""The environment of every test (no network, one thread, no progress bars), and fixtures of several packages."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Before anything imports torch or huggingface_hub: both read these once.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # pytest-xdist already fills the cores
    "PALATE_PROGRESS": "0",
    "MPLBACKEND": "agg",
    "PYTHONPATH": str(ROOT / "src"),  # for the processes that tests start
}

import pytest

SHARED_DATA = Path(os.environ.get("PALATE_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module", autouse=True)
def _collections_pass_over_what_is_imported() -> None:
    """Modules stay to the end: the garbage collector, which each run calls, need not visit their objects each time."""
    if len(sys.modules) > _frozen[0] + 50:
        gc.collect()
        gc.freeze()
        _frozen[0] = len(sys.modules)


_frozen = [0]


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of its own: no result of an earlier session, and none of a person's own runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def float64() -> Iterator[None]:
    """Makes float64 the default dtype, for tests against closed forms and for gradcheck."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def shared_cases() -> Path:
    """The folder of small bad inputs beside the repository; tests that need it skip where it is absent."""
    cases = SHARED_DATA.parent / "cases"
    if not cases.is_dir():
        pytest.skip(f"no bad inputs at {cases}")
    return cases


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of the families' small pipelines by name, each built when it is first asked for."""
    from twins import TWINS

    root = tmp_path_factory.mktemp("twins")

    class Built(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            for package in TWINS[name].needs:
                pytest.importorskip(package, reason=f"the twin {name} needs {package}")
            return self.setdefault(name, TWINS[name].build(root / name))

    return Built()
