"""Whatever a configuration holds, in Python, in YAML or as flags, it is a configuration or one clear error."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import EXAMPLES, HALF, SCALARS, settings, values
from hypothesis import example, given
from hypothesis import strategies as st

from palate.align.methods.cpo import CPOConfig
from palate.align.methods.listwise import ListwiseConfig
from palate.caption.stage import CaptionConfig
from palate.choose.best_of import BestOfConfig
from palate.collect.config import ServeConfig, StudyConfig
from palate.collect.export import ExportConfig
from palate.core.config import from_mapping, load, parse, to_mapping
from palate.core.errors import PalateError
from palate.core.flags import flags
from palate.core.strict_yaml import read_yaml, write_yaml
from palate.demo.config import DemoConfig
from palate.evaluate.config import EvaluateConfig
from palate.evaluate.order import OrderConfig
from palate.prefer.from_scores import FromScoresConfig
from palate.prefer.grading import GradeConfig
from palate.prefer.importing import ImportConfig
from palate.prefer.relabel import RelabelConfig
from palate.reward.config import BradleyTerryConfig, RegressionConfig, RewardTestConfig
from palate.score.filter import FilterConfig
from palate.score.stage import ScoreConfig

CONFIGS: list[Any] = [
    CPOConfig,
    ListwiseConfig,
    CaptionConfig,
    BestOfConfig,
    ServeConfig,
    StudyConfig,
    ExportConfig,
    DemoConfig,
    EvaluateConfig,
    OrderConfig,
    FromScoresConfig,
    GradeConfig,
    ImportConfig,
    RelabelConfig,
    BradleyTerryConfig,
    RegressionConfig,
    RewardTestConfig,
    FilterConfig,
    ScoreConfig,
]
WORDS = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "1e4",
        "nan",
        "inf",
        "1e999",
        "9" * 5000,
        "0x" + "f" * 5000,
        "true",
        "none",
        "",
        " ",
        "~",
        "a=b",
        "0/2",
    ]
)
PLAIN = SCALARS | WORDS
TAGS = ["!!binary", "!!set", "!!omap", "!!float", "!!int", "!!bool", "!!timestamp", "!!python/object/apply:os.system"]
TOKENS = st.sampled_from(
    [
        *"\n\t -:?,[]{}#&*!|>'\"%@`=<.0123456789abc~\ufeff\u2028\x85\0",
        *TAGS,
        *(
            "---",
            "...",
            "<<",
            "<<: *a",
            "&a",
            "*a",
            "2001-99-99",
            "1:1:1",
            "0x" + "f" * 5000,
            "1_0",
            "seed",
            ": ",
            "- ",
            "\n  ",
        ),
    ]
)


def mappings(cls: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields of a configuration, and fields that it does not have, with any values."""
    names = st.sampled_from([flag.key for flag in flags(cls).values()])
    return st.dictionaries(names | st.text(max_size=5), values(PLAIN), max_size=8)


@EXAMPLES
def test_any_mapping_is_a_configuration_that_comes_back_or_one_error(examples: int, tmp_path: Path) -> None:
    @settings(examples)
    @given(st.data())
    def check(data: Any) -> None:
        cls = data.draw(st.sampled_from(CONFIGS))
        try:
            config = from_mapping(cls, data.draw(mappings(cls)))
        except PalateError as error:
            str(error).encode(errors="backslashreplace")
            return
        assert from_mapping(cls, to_mapping(config)) == config
        (tmp_path / "again.yaml").write_text(write_yaml(to_mapping(config)), "utf-8")
        assert load(cls, tmp_path / "again.yaml") == config

    check()


@EXAMPLES
def test_any_file_is_yaml_of_a_mapping_or_one_error(examples: int, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"

    @settings(examples)
    @given(st.lists(TOKENS, max_size=30).map("".join) | st.text(max_size=30) | st.binary(max_size=30))
    @example("a: 2001-99-99")
    @example("a: !!binary x")
    @example("? [a, b]\n: c")
    @example("? {a: b}\n: c")
    @example("a: &a [*a]")
    @example("a: &a\n  <<: *a")
    @example("<<: 5")
    @example("? !!binary YQ==\n: 1")
    @example("1: 1\n1.0: 1")
    @example("a: !!timestamp x")
    @example("a: !!int ''")
    @example("a: !!bool x")
    @example("0x" + "f" * 5000 + ": 1")
    def check(content: str | bytes) -> None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
        for read in (read_yaml, lambda path: load(ScoreConfig, path)):
            with contextlib.suppress(PalateError):
                read(file)

    check()


@EXAMPLES
def test_any_words_are_a_configuration_or_one_error(examples: int) -> None:
    @settings(examples)
    @given(st.data())
    def check(data: Any) -> None:
        cls = data.draw(st.sampled_from(CONFIGS))
        names = st.sampled_from([*flags(cls), "--no-skip-bad", "--", "-h", "--seed=3", "--config=", "--=", "---"])
        junk = st.text(st.characters(exclude_characters="\0") | HALF, max_size=8)
        argv = data.draw(st.lists(names | WORDS | junk, max_size=8))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(PalateError, SystemExit):
            config = parse(cls, argv, prog="palate x", description="x")
            assert from_mapping(cls, to_mapping(config)) == config
            yaml.safe_load(write_yaml(to_mapping(config)).encode())

    check()


@pytest.mark.parametrize(
    "content",
    [
        "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" if i else "a0: &a0 [x, x, x]\n" for i in range(40)),
        "".join(f"key{i}: {i}\n" for i in range(30_000)),
        "a: " + "[" * 3000,
        "a: " + "{b: " * 3000,
        "- " * 3000 + "a",
        "a: &a {" + ", ".join(f"b{i}: *a" for i in range(2000)) + "}",
        "? " * 3000,
        "a: '" + "x" * 10**6,
    ],
    ids=["anchors of anchors", "many keys", "deep lists", "deep mappings", "deep items", "itself", "deep keys", "long"],
)
def test_no_file_takes_longer_than_its_length_explains(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content)
    begun = time.process_time()
    with pytest.raises(PalateError) as error:
        load(ScoreConfig, tmp_path / "config.yaml")
    assert time.process_time() - begun < 20  # the least of it is under a second on a machine of its own
    assert len(str(error.value)) < 10**6
