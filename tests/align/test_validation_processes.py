"""Several processes share a validation."""

import json

import pytest
from forked import two_of
from trained import run

from palate.core.config import dump


@pytest.mark.slow
def test_two_processes_share_a_validation_and_find_what_one_finds_up_to_rounding(dpo_config, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red star\ntwo blue stars\na star")
    validated = {
        "validation_prompts": str(tmp_path / "prompts.txt"),
        "validation_steps": 2,
        "validation_batch": 1,
        "scorer": ("image:brightness",),
        "held_out": "0.4",
        "validate_every": 2,
    }
    found = {}
    for processes in (1, 2):
        config = dpo_config(batch=4, steps=4, out=tmp_path / f"run {processes}", **validated)
        dump(config, tmp_path / "config.yaml")
        if processes == 1:
            run(config)
        else:
            two_of(["align", "dpo", "--config", str(tmp_path / "config.yaml")], tmp_path)
        assert (config.out / "report.html").is_file() and (config.out / "model" / "best" / "palate.json").is_file()
        found[processes] = [json.loads(line) for line in (config.out / "validation.jsonl").read_text().splitlines()]
    one, two = found.values()
    assert [row["step"] for row in one] == [row["step"] for row in two] == [0, 2, 4]
    assert one[0]["held_out"]["accuracy"] == two[0]["held_out"]["accuracy"] == 0.5
    for a, b in zip(one, two):
        for name in ("loss", "error_winner", "error_loser", "error_ref_winner"):
            assert a["held_out"][name] == pytest.approx(b["held_out"][name], rel=1e-3)
        means = [row["scores"]["image:brightness"]["mean"] for row in (a, b)]
        assert means[0] == pytest.approx(means[1], abs=1e-3)
