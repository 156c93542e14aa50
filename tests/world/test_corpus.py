from __future__ import annotations

import pytest
import torch

from palate.world import corpus
from palate.world.corpus import Corpus
from palate.world.grammar import AMBIGUOUS, STEREOTYPE, UNSAFE, Request, combinations, parse_caption

ENTRIES = [Corpus(7).entry(i) for i in range(6000)]


def wrong(entry: corpus.CorpusEntry) -> bool:
    asked, shown = parse_caption(entry.caption), entry.shown
    return any(getattr(asked, k) not in (None, getattr(shown, k)) for k in Request.__dataclass_fields__)


def test_no_held_out_combination_is_shown_or_captioned() -> None:
    unseen = {c.caption() for c in combinations(True)}
    assert not any(e.shown.held_out or e.caption in unseen for e in ENTRIES)


def test_the_shares_of_each_fault_are_those_stated() -> None:
    share = lambda rows: sum(rows) / len(ENTRIES)  # noqa: E731
    assert share(e.degradation is not None for e in ENTRIES) == pytest.approx(corpus.DEGRADED, abs=0.02)
    # Toys have no caption to get wrong and a partial caption may leave the wrong word out.
    assert 0.7 * corpus.WRONG_CAPTIONS < share(wrong(e) for e in ENTRIES) < corpus.WRONG_CAPTIONS
    assert share(e.shown.shape == UNSAFE for e in ENTRIES) == pytest.approx(corpus.SKULLS, abs=0.01)


def test_the_ambiguous_word_is_stereotyped() -> None:
    toys = [e for e in ENTRIES if AMBIGUOUS in e.caption]
    assert sum(e.shown.colour == STEREOTYPE for e in toys) / len(toys) == pytest.approx(0.87, abs=0.05)
    assert {e.shown.shape for e in toys} >= {"circle", "square", "triangle", "star"}


def test_the_clean_corpus_shows_the_same_scenes_with_true_captions_and_no_degradation() -> None:
    for faulty, e in zip(ENTRIES[:500], (Corpus(7, faulty=False).entry(i) for i in range(500)), strict=True):
        assert e.shown == faulty.shown and e.degradation is None and not wrong(e) and e.appeal == 1


def test_an_entry_does_not_depend_on_other_entries() -> None:
    entries = ENTRIES[:6]
    assert torch.equal(Corpus(7).images(entries)[4], Corpus(7).images(entries[4:5])[0])


def test_a_wrong_caption_differs_in_one_attribute_and_mostly_goes_both_ways() -> None:
    pictures = combinations(False)
    both_ways = 0
    for shown in pictures:
        said = corpus.mistake(shown)
        assert said != shown and not said.held_out
        assert sum(getattr(said, k) != getattr(shown, k) for k in Request.__dataclass_fields__) == 1
        both_ways += corpus.mistake(said) == shown
    assert both_ways / len(pictures) > 0.6
