import errno
import os
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open

from palate.core.errors import InputError, PalateError
from palate.core.progress import bar
from palate.models.conditioning import Ragged
from palate.training import row_cache as cache_module
from palate.training.row_cache import RowCache, cached_rows, digest

VALUES = {"narrow": torch.zeros(1, 3, dtype=torch.bfloat16), "wide": torch.zeros(1, 2, 5), "scalar": torch.zeros(1)}


def fill(path, rows, compute, batch, accelerator=None, **options):
    with bar("rows", rows) as progress:
        return cached_rows(path, rows, compute, batch, progress, accelerator or Accelerator(cpu=True), **options)


def squares(asked=None):
    def compute(rows):
        if asked is not None:
            asked.append(rows.tolist())
        return {"square": torch.from_numpy(rows).float() ** 2}

    return compute


def test_rows_come_back_as_they_were_written(tmp_path):
    cache = RowCache.create(tmp_path / "a.safetensors", 4, VALUES)
    wide = torch.randn(2, 2, 5)
    cache.write(np.array([3, 1]), {"wide": wide, "narrow": torch.ones(2, 3), "scalar": torch.tensor([1.0, 2.0])})
    again = RowCache(tmp_path / "a.safetensors")
    found = again.read(np.array([3, 1, 0, 3]))
    assert torch.equal(found["wide"][[0, 1, 3]], wide[[0, 1, 0]]) and found["scalar"].tolist() == [1, 2, 0, 1]
    assert again.missing(np.arange(3)).tolist() == [0, 2]
    assert found["narrow"].dtype == torch.bfloat16 and sorted(found) == ["narrow", "scalar", "wide"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bool, torch.int64, torch.int32, torch.float64])
def test_rows_of_every_dtype_come_back(tmp_path, dtype):
    values = torch.tensor([[1, 0], [0, 1]]).to(dtype)
    RowCache.create(tmp_path / "a.safetensors", 2, {"x": values}).write(np.arange(2), {"x": values})
    found = RowCache(tmp_path / "a.safetensors").read(np.array([1, 0]))["x"]
    assert found.dtype == dtype and torch.equal(found, values[[1, 0]])


def test_rows_of_unequal_length_take_no_space_for_padding(tmp_path):
    rows = [torch.randn(n, 4).to(torch.bfloat16) for n in (3, 0, 70, 1)]
    cache = RowCache.create(tmp_path / "a.safetensors", 4, {"embeddings": Ragged.of(rows)})
    for numbers in ([2, 0], [1, 3]):
        cache.write(np.array(numbers), {"embeddings": Ragged.of([rows[number] for number in numbers])})
    found = RowCache(tmp_path / "a.safetensors").read(np.array([1, 2, 3, 0, 2]))["embeddings"]
    for row, number in zip(found.rows(), (1, 2, 3, 0, 2), strict=True):
        assert torch.equal(row, rows[number])
    assert (tmp_path / "a.embeddings.values").stat().st_size == 74 * 4 * 2


def test_other_tools_read_the_file_as_safetensors(tmp_path):
    RowCache.create(tmp_path / "a.safetensors", 3, VALUES).write(
        np.arange(3), {"wide": torch.ones(3, 2, 5), "narrow": torch.ones(3, 3), "scalar": torch.ones(3)}
    )
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.get_tensor("wide").sum() == 30 and file.get_tensor("narrow").sum() == 9


def test_rows_are_computed_once_and_an_interrupted_run_keeps_what_it_filled(tmp_path):
    path, asked = tmp_path / "a.safetensors", []

    def compute(rows):
        asked.append(rows.tolist())
        if len(asked) == 3:
            raise KeyboardInterrupt
        return {"square": torch.from_numpy(rows).float() ** 2}

    with pytest.raises(KeyboardInterrupt):
        fill(path, 7, compute, 2)
    cache = fill(path, 7, compute, 2)
    fill(path, 7, compute, 2)
    assert cache.read(np.arange(7))["square"].tolist() == [0, 1, 4, 9, 16, 25, 36]
    assert asked == [[0, 1], [2, 3], [4, 5], [4, 5], [6]]


def test_only_wanted_rows_are_computed_in_the_order_in_which_they_are_wanted(tmp_path):
    asked = []
    for wanted in ([5, 1], [6, 5]):
        fill(tmp_path / "a.safetensors", 7, squares(asked), 4, wanted=np.array(wanted))
    assert asked == [[5, 1], [6]]


def test_rows_that_are_not_wanted_take_no_disk_space(tmp_path):
    big = {"x": torch.zeros(1, 2**16)}  # a quarter of a megabyte per row
    cache = RowCache.create(tmp_path / "a.safetensors", 10_000, big)
    cache.write(np.array([9_000]), {"x": torch.ones(1, 2**16)})
    assert (tmp_path / "a.safetensors").stat().st_blocks * 512 < 2**20


class Process:
    """One of two processes, as a cache sees them; the other's turn comes at the barrier."""

    num_processes, device = 2, torch.device("cpu")

    def __init__(self, index, others_turn=lambda: None):
        self.process_index, self.wait_for_everyone = index, others_turn

    @contextmanager
    def main_process_first(self):
        yield

    def reduce(self, value, how):
        return value


def test_each_process_computes_its_share_and_finds_the_others(tmp_path):
    path, asked = tmp_path / "a.safetensors", {0: [], 1: []}

    def other():
        fill(path, 6, squares(asked[1]), 2, Process(1))

    cache = fill(path, 6, squares(asked[0]), 2, Process(0, other))
    assert cache.read(np.arange(6))["square"].tolist() == [0, 1, 4, 9, 16, 25]
    assert asked == {0: [[0, 1], [2]], 1: [[3, 4], [5]]}


def test_rows_missing_because_machines_do_not_share_a_disk_are_refused(tmp_path):
    with pytest.raises(PalateError, match=r"3 of the 6 rows .* do not see one disk; give --cache a folder .* share"):
        fill(tmp_path / "a.safetensors", 6, squares(), 2, Process(0))


def test_rows_that_do_not_fit_on_the_disk_are_refused_before_they_are_computed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("palate.core.cache_folder.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(PalateError, match=r"50 rows of a.safetensors would take .* bytes, .* has 95 bytes left; free"):
        fill(tmp_path / "a.safetensors", 50, squares(asked), 2)
    assert asked == [[0, 1]]  # how large a row is, is known from the first


def test_a_full_disk_is_one_clear_error_and_leaves_the_rows_unmarked(tmp_path, monkeypatch):
    cache = RowCache.create(tmp_path / "a.safetensors", 4, VALUES)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(PalateError, match="write the cache .*No space left on device; free some space"):
            cache.write(np.arange(2), {"wide": torch.ones(2, 2, 5)})
    assert cache.missing(np.arange(4)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"x" * 100])
def test_a_damaged_cache_is_named_with_the_fix(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="a.safetensors is damaged.*delete it"):
        RowCache(tmp_path / "a.safetensors")


def test_a_truncated_cache_is_damaged(tmp_path):
    path = tmp_path / "a.safetensors"
    RowCache.create(path, 4, VALUES)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(InputError, match=r"a.safetensors is damaged \(\d+ bytes instead of \d+\)"):
        RowCache(path)


def test_different_parts_have_different_digests():
    assert digest("a", ["b"]) == digest("a", ["b"]) != digest("a", "b")
    assert cache_module.default_root().is_absolute()
