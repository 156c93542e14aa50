"""A study's raters and owner: links that nobody can guess, kept as hashes; and folders that are not a study."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from collect.database import answer_next, rows, small_config

from palate.collect.config import StudyConfig
from palate.collect.database import FILE
from palate.collect.new import new_study
from palate.collect.secrets import authentication_code, equal_in_constant_time, new_handle, new_token
from palate.collect.study import LONGEST_NAME, open_study
from palate.core.config import from_mapping
from palate.core.errors import ConfigError, InputError

REFUSED = {
    "": "1 to 80 characters, not 0",
    " \t\n": "1 to 80 characters, not 0",
    "x" * (LONGEST_NAME + 1): "not 81",
    "a\0b": "do not print",
    "a\nb": "do not print",
    "\ud800": "do not print",
    "rater 0": "choose another name",
    " rater 0 ": "choose another name",
}
"""Names, and what is said of them."""


def test_a_raters_token_opens_only_their_own_screens(study):
    study = study(raters=0)
    tokens = {name: study.add_rater(name) for name in ("ann", "bob")}
    assert [study.rater(token) for token in tokens.values()] == [1, 2]
    assert len(set(tokens.values())) == 2 and all(len(token) == 43 for token in tokens.values())
    for wrong in ("", "x", tokens["ann"][:-1], tokens["ann"] + "A", tokens["ann"].swapcase(), "\0", "' OR 1=1 --"):
        assert study.rater(wrong) is None


def test_no_token_is_stored(study):
    study = study(raters=0)
    tokens = [study.add_rater("ann"), study.renew_owner(), study.renew_rater("ann")]
    kept = repr([rows(study, f"SELECT * FROM {table}") for table in ("rater", "study")])
    kept += "".join(path.read_text("latin1") for path in study.folder.glob("*") if path.is_file())
    assert not any(token in kept for token in tokens)


def test_a_new_token_voids_the_old_one(study):
    study = study(raters=0)
    old = study.add_rater("ann")
    new = study.renew_rater("ann")
    assert (study.rater(old), study.rater(new)) == (None, 1)
    with pytest.raises(InputError, match="no rater named 'bob'"):
        study.renew_rater("bob")


def test_the_owner_is_not_a_rater_and_no_rater_is_the_owner(tmp_path, new_database):
    made = new_study(small_config(tmp_path / "study", 2, new_database()))
    study = open_study(made.folder)
    rater = study.add_rater("ann")
    assert study.is_owner(made.owner) and not study.is_owner(rater) and study.rater(made.owner) is None
    new = study.renew_owner()
    assert study.is_owner(new) and not study.is_owner(made.owner) and not study.is_owner("ü")
    study.close()


def test_an_invalid_name_of_a_rater_is_refused_with_a_sentence(study):
    study = study(raters=1)
    for name, words in REFUSED.items():
        with pytest.raises(InputError, match=words):
            study.add_rater(name)
    assert study.counts()["raters"] == 1


def test_of_simultaneous_invitations_with_one_name_only_one_succeeds(study):
    study = study(raters=0)

    def add(_: int) -> str | None:
        try:
            return study.add_rater("ann")
        except InputError:
            return None

    with ThreadPoolExecutor(8) as pool:
        tokens = [token for token in pool.map(add, range(8)) if token]
    assert len(tokens) == 1 and study.rater(tokens[0]) is not None


def test_names_may_be_in_any_script(study):
    study = study(raters=0)
    names = ["Zoë", "Аня", "安", "o'; DROP TABLE vote; --", "100%", "x" * LONGEST_NAME]
    assert [study.rater(study.add_rater(name)) for name in names] == [1, 2, 3, 4, 5, 6]


def test_an_opened_study_is_the_one_that_was_made(study):
    made = study(items=2, questions=("general", "Which is the funnier?"), title="Cats", raters_per_item=7)
    again = open_study(str(made.folder))
    assert again.config == made.config and again.secret == made.secret and len(made.secret) == 64
    assert again.counts() == {"real items": 2, "images": 4, "raters": 3}
    again.close()


def test_a_study_may_be_moved_to_another_folder(tmp_path, study):
    made = study(items=2)
    answer_next(made, 1)
    made.close()
    moved = open_study(shutil.move(made.folder, tmp_path / "elsewhere"))
    assert moved.images == (tmp_path / "elsewhere" / "images").resolve() and any(moved.images.iterdir())
    assert answer_next(moved, 1) is not None
    moved.close()


def test_a_folder_that_is_not_a_study_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(InputError, match="is not a study"):
        open_study(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a study"):
        open_study(tmp_path)
    (tmp_path / "config.yaml").write_text("stage: generate\npalate: 0.1\n")
    with pytest.raises(InputError, match="is not a study; give a folder that `palate collect new` made"):
        open_study(tmp_path)


def test_a_study_without_its_database_is_refused_with_a_sentence(tmp_path):
    folder = new_study(small_config(tmp_path / "study", 2, None)).folder
    (folder / FILE).rename(folder / "moved")
    with pytest.raises(InputError, match=f"lacks {FILE}"):
        open_study(folder)
    assert not (folder / FILE).exists()
    (folder / FILE).write_bytes(b"")
    with pytest.raises(InputError, match="holds no study"):
        open_study(folder)


def test_all_mistakes_of_a_study_configuration_are_reported_at_once(tmp_path):
    wrong = {"images": ["a"], "preferences": "b", "task": "rating", "n": 2, "questions": [], "raters_per_item": 0}
    wrong |= {"limit": 0, "mirror": 0.6, "gold_share": -1, "lease": 0, "database": "mysql://x"}
    with pytest.raises(ConfigError) as caught:
        from_mapping(StudyConfig, {"out": str(tmp_path), **wrong})
    for words in ("exactly one", "n of a rating", "questions", "raters_per_item", "limit", "mirror", "lease", "a URL"):
        assert words in str(caught.value)


def test_secrets_are_long_and_never_the_same():
    assert len({new_token() for _ in range(1000)}) == len({new_handle() for _ in range(1000)}) == 1000
    assert (
        equal_in_constant_time("a", "a")
        and not equal_in_constant_time("a", "ä")
        and not equal_in_constant_time("", "a")
    )
    assert (
        authentication_code("key", "a", "b") != authentication_code("key", "ab") != authentication_code("other", "ab")
        and len(authentication_code("key")) == 64
    )
