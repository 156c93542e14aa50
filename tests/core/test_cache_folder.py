"""What the cache folder keeps is described, listed and deleted, and never taken from a process that uses it."""

import json
import os
import subprocess
import sys
import time

import pytest

from palate.cli.main import main
from palate.core.cache_folder import Entry, list_entries, require_space, size_text
from palate.core.errors import PalateError

ABOUT = {"kind": "latents", "model": "tiny-sd", "data": "tiny-preferences", "pixels": 64}
OLD = "latents-0123456789abcdef01234567.safetensors"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(root, name, size=1000, days=0.0):
    made = Entry(root / "align" / name, ABOUT)
    (made.folder / "rows").write_bytes(os.urandom(size))
    if days:
        made.close()
        used = time.time() - days * 86400
        os.utime(made.folder / "in-use", (used, used))
    return made


def printed(capsys, *argv, code=0):
    assert main(["cache", *argv]) == code
    shown = capsys.readouterr()
    return shown.out + shown.err


def test_the_listing_says_what_is_kept_of_what_how_large_and_when_it_was_used(root, capsys):
    entry(root, "latents-aaaa", 8192, days=3)
    shown = printed(capsys)
    assert "latents-aaaa" in shown and "3 days ago" in shown and "tiny-preferences, tiny-sd, 64 pixels" in shown
    assert f"{root} keeps 1 entries" in shown and " kB" in shown


def test_an_empty_cache_is_listed_as_one(root, capsys):
    assert printed(capsys) == f"{root} keeps 0 entries, 0 bytes\n" == printed(capsys, "list")
    assert printed(capsys, "--cache", str(root / "b")) == f"{root / 'b'} keeps 0 entries, 0 bytes\n"


def test_what_was_not_used_for_long_is_deleted_and_the_rest_is_left(root, capsys):
    entry(root, "latents-old", days=40)
    entry(root, "latents-new", days=2)
    shown = printed(capsys, "prune", "--older-than", "30d")
    assert "deleted latents-old (" in shown and "freed " in shown and "latents-new" not in shown
    assert [each.path.name for each in list_entries(root)] == ["latents-new"]


def test_names_are_words_and_may_be_shortened(root, capsys):
    for name in ("latents-ab1", "latents-ab2", "errors-c"):
        entry(root, name, days=1)
    assert "2 entries begin with 'latents-ab'" in printed(capsys, "prune", "latents-ab", code=2)
    assert "did you mean 'errors-c'" in printed(capsys, "prune", "error-c", code=2)
    printed(capsys, "prune", "latents-ab1", "errors")
    assert [each.path.name for each in list_entries(root)] == ["latents-ab2"]


def test_what_a_process_uses_is_left(root, capsys):
    """Another process holds one entry; this one holds another."""
    code = (
        "import sys; from pathlib import Path; from palate.core.cache_folder import Entry; "
        "held = Entry(Path(sys.argv[1]), {'kind': 'latents'}); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(root / "align" / "latents-theirs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        ours = entry(root, "latents-ours")
        entry(root, "latents-nobodys", days=1)
        assert printed(capsys).count("in use") == 2
        shown = printed(capsys, "prune", "--all")
        assert shown.count("a process uses it") == 2 and "deleted latents-nobodys" in shown
        other.communicate("")
    ours.close()
    printed(capsys, "prune", "--all")
    assert list_entries(root) == [] and list((root / "align").iterdir()) == []


def test_an_entry_that_was_deleted_while_it_was_opened_is_made_again(root):
    first = entry(root, "latents-a", days=1)
    (each,) = list_entries(root)
    assert each.delete() and not first.folder.exists()
    again = Entry(first.folder, ABOUT)
    assert json.loads((again.folder / "about.json").read_text()) == ABOUT


def test_using_an_entry_again_makes_it_new(root):
    entry(root, "latents-a", days=40)
    Entry(root / "align" / "latents-a", ABOUT).close()
    assert time.time() - list_entries(root)[0].used < 60


def test_files_of_version_0_1_are_listed_and_deleted_and_those_of_others_never(root, capsys):
    (root / "align").mkdir(parents=True)
    for name in (OLD, "notes.txt", "latents-mine.safetensors"):
        (root / "align" / name).write_bytes(b"x")
    (root / "align" / "photographs").mkdir()
    assert "of version 0.1" in printed(capsys)
    printed(capsys, "prune", "--all")
    assert sorted(path.name for path in (root / "align").iterdir()) == [
        "latents-mine.safetensors",
        "notes.txt",
        "photographs",
    ]


def test_a_damaged_description_is_listed_and_its_entry_can_be_deleted(root, capsys):
    made = entry(root, "latents-a", days=1)
    (made.folder / "about.json").write_text("{")
    assert "latents-a" in printed(capsys)
    printed(capsys, "prune", "latents-a")
    assert list_entries(root) == []


@pytest.mark.parametrize(
    "words, complaint",
    [
        ((), "give one of name, older_than and all"),
        (("--all", "--older-than", "3d"), "give one of name, older_than and all"),
        (("--older-than", "3 days"), "a number of hours, days or weeks, such as 30d"),
    ],
)
def test_pruning_says_what_it_needs(root, capsys, words, complaint):
    assert complaint in printed(capsys, "prune", *words, code=2)


def test_one_process_at_a_time_writes(root):
    first, second = (Entry(root / "index" / "a", ABOUT) for _ in range(2))
    code = (
        "import sys; from pathlib import Path; from palate.core.cache_folder import Entry\n"
        "with Entry(Path(sys.argv[1]), {}).writing(): print('in', flush=True)"
    )
    with first.writing():
        command = [sys.executable, "-c", code, str(second.folder)]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=2)
    assert other.communicate(timeout=60)[0] == "in\n"


def test_what_does_not_fit_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(PalateError, match=r"the latents would take 1e\+03 TB, and .* left; give another"):
        require_space(tmp_path / "not" / "there", 10**15, "the latents", "give another")
    require_space(tmp_path, 10, "the latents", "give another")


@pytest.mark.parametrize("size, text", [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (446e9, "446 GB")])
def test_sizes_are_for_people(size, text):
    assert size_text(size) == text
