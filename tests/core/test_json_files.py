import json
import math

import pytest

from palate.core.errors import PalateError
from palate.core.json_files import to_json, write_json
from palate.core.runs import RunFolder


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_hold_is_refused_by_its_key_and_nothing_is_written(tmp_path, value):
    path = tmp_path / "summary.json"
    with pytest.raises(PalateError, match=rf"cannot write {path}: its scores\.clip\[1\]\.mean is {value}"):
        write_json(path, {"scores": {"clip": [{"mean": 0.5}, {"mean": value}]}})
    assert not path.exists()


def test_what_is_written_reads_back_as_it_was(tmp_path):
    content = {"a": [1, 2.5, None, True], "b": {"prompt": 'a "cat" \u00e9 \udc80'}}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text("ascii")) == content


def test_letters_are_kept_as_they_are_where_that_is_asked_for():
    assert to_json({"prompt": "\u00e9t\u00e9"}, "x", ascii=False) == '{"prompt": "\u00e9t\u00e9"}'


def test_a_run_is_not_finished_by_a_summary_with_nan(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(PalateError, match=r"accuracy\.value is nan"):
        run.finish({"accuracy": {"value": math.nan}})
    assert run.finished is None
