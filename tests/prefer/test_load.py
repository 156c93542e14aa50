"""Preferences are found by name or path and known by their looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import encoded, stored

from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import built_in, load_preferences
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

SETS = [
    RankedSet("a cat", (stored("red"), stored("blue")), (1, 2)),
    RankedSet("a dog", (stored(), stored("white")), (1, 1)),
]


def test_an_import_is_loaded_by_its_run_folder(tmp_path: Path) -> None:
    write_sets(SETS, tmp_path / "mine.parquet")
    run = import_preferences(ImportConfig(source=str(tmp_path / "mine.parquet"), out=tmp_path / "run"))
    assert load_preferences(run) == SETS == load_preferences(tmp_path / "mine.parquet")
    assert RunFolder(run).finished == {"ranked sets": 2, "images": 4, "votes": 0, "pairs": 1, "tied pairs": 1}


def test_a_limit_takes_the_first_sets(tmp_path: Path) -> None:
    write_sets(SETS, tmp_path / "mine.parquet")
    run = import_preferences(ImportConfig(source=str(tmp_path / "mine.parquet"), out=tmp_path / "run", limit=1))
    assert load_preferences(run) == SETS[:1]


def test_a_bad_image_stops_the_import_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for name, data in (("a.png", encoded()), ("b.png", b"")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "metadata.csv").write_text("prompt,preferred,rejected\na cat,a.png,b.png\n")
    with pytest.raises(InputError, match=r"b\.png is empty \(0 bytes\)"):
        import_preferences(ImportConfig(source=str(tmp_path), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_mended_command_takes_the_folder_of_the_one_that_failed(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"" if name == "b" else encoded("red" if name == "a" else "blue"))
    (tmp_path / "metadata.csv").write_text("prompt,preferred,rejected\nx,a.png,b.png\ny,a.png,c.png\n")
    with pytest.raises(InputError, match="--skip-bad"):
        import_preferences(ImportConfig(source=str(tmp_path), out=tmp_path / "run"))
    run = import_preferences(ImportConfig(source=str(tmp_path), out=tmp_path / "run", skip_bad=True))
    assert [each.prompt for each in load_preferences(run)] == ["y"]


def test_an_import_that_was_killed_is_named_with_the_mend(tmp_path: Path) -> None:
    RunFolder.open(tmp_path / "run", "prefer import", ImportConfig(source="x", out=tmp_path / "run"))
    with pytest.raises(InputError, match="is a run of `palate prefer import` without preferences.parquet"):
        load_preferences(tmp_path / "run")


def test_skipped_rows_are_counted_and_named(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(encoded("red" if name == "a" else "blue") if name != "b" else b"")
    (tmp_path / "metadata.csv").write_text("prompt,preferred,rejected\nx,a.png,b.png\ny,a.png,c.png\n")
    run = import_preferences(ImportConfig(source=str(tmp_path), out=tmp_path / "run", skip_bad=True))
    finished = RunFolder(run).finished or {}
    assert (finished["ranked sets"], finished["bad rows"]) == (1, 1)
    assert "b.png is empty" in (run / "bad_rows.txt").read_text()


def test_another_source_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    write_sets(SETS, tmp_path / "mine.parquet")
    import_preferences(ImportConfig(source=str(tmp_path / "mine.parquet"), out=tmp_path / "run"))
    write_sets(SETS[:1], tmp_path / "other.parquet")
    with pytest.raises(RunFolderError, match="source: .*mine.parquet there, .*other.parquet now"):
        import_preferences(ImportConfig(source=str(tmp_path / "other.parquet"), out=tmp_path / "run"))


@pytest.mark.parametrize(
    "source, complaint",
    [
        ("nowhere", "no preferences at 'nowhere'"),
        ("empty", "has none of the formats that Palate reads"),
        ("n.txt", "none of the formats"),
    ],
)
def test_sources_that_are_none_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "n.txt").write_text("a")
    with pytest.raises(InputError, match=complaint):
        load_preferences(source)


def test_the_built_in_preferences_are_ranked_by_five_raters() -> None:
    if "tiny-preferences" not in built_in():
        pytest.skip("tiny-preferences are not built")
    sets = load_preferences("tiny-preferences")
    assert len(sets) > 100
    assert all(len(one.votes) == 5 and one.ranks for one in sets)
