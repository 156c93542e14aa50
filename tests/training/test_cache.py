import errno
import os

import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open

from palate.core.errors import InputError, PalateError
from palate.core.progress import bar
from palate.training.cache import Field, RowCache, cached_rows, digest

FIELDS = {"narrow": Field((3,), torch.bfloat16), "wide": Field((2, 5)), "scalar": Field(())}


def test_rows_come_back_as_they_were_written(tmp_path):
    cache = RowCache.create(tmp_path / "a.safetensors", 4, FIELDS)
    wide = torch.randn(2, 2, 5)
    cache.write(torch.tensor([3, 1]), {"wide": wide, "narrow": torch.ones(2, 3), "scalar": torch.tensor([1.0, 2.0])})
    again = RowCache(tmp_path / "a.safetensors")
    assert torch.equal(again["wide"][[3, 1]], wide) and again["scalar"].tolist() == [0, 2, 0, 1]
    assert again.missing().tolist() == [0, 2]
    assert again["narrow"].dtype == torch.bfloat16 and sorted(again.tensors()) == ["narrow", "scalar", "wide"]


def test_other_tools_read_the_file_as_safetensors(tmp_path):
    RowCache.create(tmp_path / "a.safetensors", 3, FIELDS).write(
        torch.arange(3), {"wide": torch.ones(3, 2, 5), "narrow": torch.ones(3, 3), "scalar": torch.ones(3)}
    )
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.get_tensor("wide").sum() == 30 and file.get_tensor("narrow").sum() == 9


def test_rows_are_computed_once_and_an_interrupted_run_keeps_what_it_filled(tmp_path):
    path, asked = tmp_path / "a.safetensors", []

    def compute(rows):
        asked.append(rows.tolist())
        if len(asked) == 3:
            raise KeyboardInterrupt
        return {"square": rows.float() ** 2}

    with bar("squares", 7) as progress:
        with pytest.raises(KeyboardInterrupt):
            cached_rows(path, 7, compute, 2, progress, Accelerator(cpu=True))
        cache = cached_rows(path, 7, compute, 2, progress, Accelerator(cpu=True))
        cached_rows(path, 7, compute, 2, progress, Accelerator(cpu=True))
    assert cache["square"].tolist() == [0, 1, 4, 9, 16, 25, 36]
    assert asked == [[0, 1], [2, 3], [4, 5], [4, 5], [6]]


def test_only_wanted_rows_are_computed(tmp_path):
    asked = []

    def compute(rows):
        asked.extend(rows.tolist())
        return {"square": rows.float() ** 2}

    with bar("squares", 7) as progress:
        for wanted in ([1, 5], [5, 6]):
            rows = torch.tensor(wanted)
            cached_rows(tmp_path / "a.safetensors", 7, compute, 4, progress, Accelerator(cpu=True), rows)
    assert asked == [1, 5, 6]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(PalateError, match="write the cache .*No space left on device; free some space"):
        RowCache.create(tmp_path / "a.safetensors", 4, FIELDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"x" * 100])
def test_a_damaged_cache_is_named_with_the_mend(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="a.safetensors is damaged.*delete it"):
        RowCache(tmp_path / "a.safetensors")


def test_digest_tells_parts_apart():
    assert digest("a", ["b"]) == digest("a", ["b"]) != digest("a", "b")
