"""Every published format is recognised, imported and trained on, and none is taken for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefer.test_hpdv2 import GALLERY, gallery, released
from prefer.test_indexing import pick_a_pic
from published import SOURCES, embedded, open_preferences, own_pairs, put_pictures, richhf, table

from palate.align.learned import examples_of
from palate.align.methods import method_config
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import FORMATS, READERS, detect, load_preferences, load_rankings
from palate.records.parquet import write_sets

ALSO_MATCHED = {("richhf", "pickapic"): "Pick-a-Pic's files are in the folder, for their images"}


def others(folder: Path) -> dict[str, Path]:
    """Sources in the formats that have their own test modules."""
    for name in ("pickapic", "own"):
        (folder / name).mkdir(parents=True)
    row = {"prompt": "p", "file_path": ["0.jpg", "1.jpg"], "human_preference": [1, 0]}
    (own,) = load_preferences(open_preferences(folder / "source"))
    write_sets([own], folder / "own/preferences.parquet")
    return {
        "hpdv2": released(folder / "hpdv2", "train", [row]),
        "hpdv2, gallery": gallery(folder / "gallery", GALLERY | {"raw_ranks": [[1, 2, 3]]}),
        "pickapic": pick_a_pic(folder / "pickapic/train-0.parquet", 2) or folder / "pickapic",
        "palate": folder / "own/preferences.parquet",
        "palate, folder": folder / "own",
        "pair-folder": own_pairs(folder / "pairs", "prompt,preferred,rejected\np,a.png,b.png\n", "metadata.csv").parent,
    }


def test_each_source_is_in_its_own_format_and_in_no_other(tmp_path: Path) -> None:
    sources = {name: (kind, make(tmp_path / name)) for name, (kind, make) in SOURCES.items()}
    sources |= {name: (name.partition(",")[0], path) for name, path in others(tmp_path / "others").items()}
    for name, (kind, path) in sources.items():
        assert detect(path) == kind, name
        matched = {other for other, reader in READERS.items() if reader.matches(path)}
        assert matched - {kind} <= {other for first, other in ALSO_MATCHED if first == kind}, name


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_imported_and_what_dpo_learns_from(tmp_path: Path, name: str) -> None:
    kind, make = SOURCES[name]
    path = make(tmp_path / "data")
    run = import_preferences(ImportConfig(source=str(path), out=tmp_path / "run", format=kind))
    assert load_preferences(run) == load_preferences(path)
    (first, *_) = load_preferences(run)
    assert (first.prompt, (first.ranks or ())[0]) == ("a cat", 1)
    config = method_config("dpo")(model="tiny-sd", preferences=str(run), out=tmp_path / "dpo")
    examples = examples_of(config, config.method())
    assert len(examples.image) >= 1
    assert examples.prompts[int(examples.prompt[0])] == "a cat"


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_indexed_and_imported_in_place_without_copies_of_its_images(tmp_path: Path, name: str) -> None:
    path = SOURCES[name][1](tmp_path / "data")
    rankings = load_rankings(path, tmp_path / "cache")
    run = import_preferences(ImportConfig(source=str(path), out=tmp_path / "run", in_place=True))
    again = load_rankings(run)
    assert rankings.rank.tolist() == again.rank.tolist()
    assert [each.digest() for each in map(rankings.images.__getitem__, range(len(rankings.images)))] == [
        again.images[number].digest() for number in range(len(again.images))
    ]
    assert all(again.images[number].open().size[1] == 8 for number in range(len(again.images)))
    assert not again.images.memory


def test_a_source_in_no_format_says_how_each_is_recognised(tmp_path: Path) -> None:
    put_pictures(tmp_path, ["a.png"])
    with pytest.raises(InputError) as caught:
        detect(tmp_path)
    assert all(reader.what in str(caught.value) for reader in FORMATS.values())
    own_pairs(tmp_path)
    with pytest.raises(InputError, match=r"; name the table itself: .*pairs\.csv"):
        detect(tmp_path)


def test_a_format_is_named_or_corrected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format is one of auto, hpdv3, .*, not 'hpdv4'; did you mean 'hpdv"):
        ImportConfig(source="x", out=tmp_path, format="hpdv4")
    with pytest.raises(ValueError, match="confidence is a number from 0 to 1, not 95"):
        ImportConfig(source="x", out=tmp_path, confidence=95)


def test_a_confidence_is_refused_where_the_format_has_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in the format open-image-preferences, which has no confidences"):
        import_preferences(
            ImportConfig(source=str(open_preferences(tmp_path / "d")), out=tmp_path / "r", confidence=0.9)
        )


def test_open_preferences_keep_their_models_and_bad_rows_are_counted(tmp_path: Path) -> None:
    bad = [
        {"prompt": " "},
        {"chosen": None},
        {"chosen": {"bytes": b"\x89PNG no", "path": None}},
        {"rejected": embedded(0)},
    ]
    folder = open_preferences(tmp_path, {}, *bad, {"prompt": "a dog"})
    complaint = r"row 1 of .*train-00000-of-00001\.parquet: the prompt is blank"
    with pytest.raises(InputError, match=complaint):
        load_preferences(folder)
    run = import_preferences(ImportConfig(source=str(folder), out=tmp_path / "run", skip_bad=True))
    one, two = load_preferences(run)
    assert (one.prompt, one.ranks, one.systems, two.prompt) == ("a cat", (1, 2), ("dev", "sd"), "a dog")
    counted, said = RunFolder(run).finished or {}, (run / "bad_rows.txt").read_text().splitlines()
    assert counted["bad rows"] == len(said) == 4
    assert "is empty (0 bytes)" in said[1] and "cannot be decoded" in said[2] and "are the same image" in said[3]


def test_the_open_preferences_of_a_split_are_read(tmp_path: Path) -> None:
    open_preferences(tmp_path / "data")
    open_preferences(tmp_path / "data", {"prompt": "of the test"}, split="test")
    run = import_preferences(ImportConfig(source=str(tmp_path / "data"), out=tmp_path / "run", split="test"))
    assert [each.prompt for each in load_preferences(run)] == ["of the test"]
    assert [each.prompt for each in load_preferences(tmp_path / "data")] == ["a cat"]


def test_the_open_images_without_preferences_say_where_these_are(tmp_path: Path) -> None:
    rows = [{"quality_prompt": "a cat", "simplified_prompt": "cat", "image_quality_dev": embedded(0)}]
    table(tmp_path / "data/train-0.parquet", rows)
    with pytest.raises(InputError, match="has images and no preferences; download open-image-preferences-v1-binarized"):
        load_preferences(tmp_path)


def test_the_folder_of_richhf_is_not_read_as_pick_a_pic(tmp_path: Path) -> None:
    assert detect(richhf(tmp_path)) == "richhf"
    assert detect(tmp_path / "pickapic") == "pickapic"
