import dataclasses
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from evaluate.drawn import drawn_comparison, stored
from PIL import Image

from palate.core.statistics import ALIKE, FEW, Estimate
from palate.evaluate.compare import Paired, Verdict, summarise_comparison
from palate.evaluate.report import Stage, render_report, write_report
from palate.evaluate.report.pictures import MAX_PAIRS, chosen_pairs, pair_gallery
from palate.evaluate.report.view import cards, measure_rows
from palate.report.charts import CURVES, Curve, line_chart, strip
from palate.report.number_format import count, interval_text, percent, points, signed, single_number, writer
from palate.report.thumbnails import THUMBNAIL, thumbnail
from palate.world.grammar import parse_caption

CURVE = [
    {"step": i, "loss": 0.69 - i / 1000, "accuracy": 0.5, "margin": 0.0, "error_winner": 0.1, "error_ref_winner": 0.2}
    for i in range(100)
]
EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def page(comparison):
    stages = [Stage("align", 75.0, "palate align dpo"), Stage("evaluate", 3.5)]
    return render_report(comparison, curves=CURVE, config={"align": {"beta": 2000.0}, "limit": None}, stages=stages)


def test_the_page_fetches_nothing(page):
    assert re.findall(r'(?:src|href)="(?!data:image/webp;base64,)', page) == []
    assert not re.search(r"https?://|@import|url\(|<script|<link", page)


def test_the_page_has_the_same_intervals_as_the_summary(comparison):
    page = re.sub("<[^>]*>", "", render_report(dataclasses.replace(comparison, seed=7)))
    found = summarise_comparison(dataclasses.replace(comparison, seed=7))
    for rate in (found["win_rate"], found["faithful"]["aligned"]):
        assert f"95% interval {percent(rate['low'])[:-1]} to {percent(rate['high'])}" in page


class _Outline(HTMLParser):
    """Tags that are open, and the images and headers seen."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.headers, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "br", "img", "input"):
            self.open.append(tag)
        self.images += [attributes] if tag == "img" else []
        self.headers += [attributes] if tag == "th" else []
        self.ids += [attributes["id"]] if "id" in attributes else []

    def handle_startendtag(self, tag, attrs):
        pass  # the drawings' own elements

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_accessible(page):
    outline = _Outline()
    outline.feed(page)
    assert outline.open == []
    assert all(image["alt"] for image in outline.images)
    assert all(header.get("scope") in ("row", "col") for header in outline.headers)
    assert len(set(outline.ids)) == len(outline.ids)
    assert '<html lang="en">' in page
    assert 'name="viewport"' in page


def test_prompts_names_configuration_and_commands_are_escaped(comparison):
    evil = dataclasses.replace(comparison, prompts=(EVIL,) * len(comparison.prompts), base=EVIL, aligned=EVIL)
    page = render_report(evil, config={EVIL: {EVIL: EVIL}}, stages=[Stage(EVIL, 1.0, EVIL)], title=EVIL)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_says_what_was_run_how_long_it_took_and_what_was_configured(page):
    for words in (
        "<span>palate</span> <span>align</span> <span>dpo</span>",
        "1 min 15 s",
        "4 s",
        "1 min 18 s",
        "align.beta",
        "2000.0",
        "default",
    ):
        assert words in page


def test_curves_are_drawn_from_the_metrics_that_there_are(page, comparison):
    assert page.count('<figure class="chart">') == 4
    assert 'id="curves"' not in render_report(comparison)


def test_judges_are_shown_side_by_side(page):
    assert "Do the judges agree?" in page
    assert '<span class="other">teacher</span>' in page


def test_faithfulness_is_broken_down_by_what_the_prompt_asks(page, comparison):
    assert "Faithful, by what the prompt asks for" in page
    for prompt in comparison.prompts:
        assert f'<th scope="row">{parse_caption(prompt).colour}</th>' in page


def test_a_scorer_as_judge_needs_no_measure_of_faithfulness(comparison):
    score = comparison.judged.preference
    verdict = Verdict("clip:tiny-clip", score, {"score": score})
    page = render_report(dataclasses.replace(comparison, verdicts=(verdict,)))
    assert "The judge puts the aligned model&#39;s image first in" in page
    assert "Do the judges agree?" not in page
    assert "by what the prompt asks" not in page


def test_one_prompt_with_one_image_makes_a_report():
    page = render_report(drawn_comparison(prompts=1, images=1))
    assert "n/a" in page
    assert "nan" not in page


def test_the_report_of_a_demo_stays_under_five_megabytes_even_of_noise():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = stored(Image.fromarray(noise))
    shape = (100, 4)
    zero = Paired(np.zeros(shape), np.ones(shape))
    comparison = dataclasses.replace(
        drawn_comparison(1, 1),
        prompts=("one red star on a blue background",) * 100,
        images={"base": ((image,) * 4,) * 100, "aligned": ((image,) * 4,) * 100},
        verdicts=(Verdict("auditor", zero, {"faithful": zero}),),
        diversity=Paired(np.ones((100, 1)), np.ones((100, 1))),
    )
    page = render_report(comparison)
    assert len(page.encode()) < 5e6
    assert f"{MAX_PAIRS} of 400 pairs are shown" in page


def test_pictures_are_shown_by_place_never_by_result():
    assert chosen_pairs(3, 2) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert chosen_pairs(4, 2, limit=6) == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (3, 0)]
    assert chosen_pairs(10, 4, limit=5) == [(0, 0), (2, 0), (4, 0), (6, 0), (8, 0)]


def test_a_pair_is_better_where_only_the_aligned_image_is_faithful(comparison):
    faithful = comparison.judged.measures["faithful"]
    for (p, k), pair in zip(chosen_pairs(*faithful.base.shape), pair_gallery(comparison), strict=True):
        assert pair.change == {1: "better", -1: "worse", 0: "same"}[int(faithful.gain[p, k])]
        assert (pair.prompt, pair.image) == (comparison.prompts[p], k + 1)


def test_large_images_are_shown_as_thumbnails_and_small_ones_as_they_are():
    assert thumbnail(Image.new("RGB", (1024, 512))).size == (THUMBNAIL, THUMBNAIL // 2)
    assert thumbnail(Image.new("RGB", (64, 64))).size == (64, 64)


def test_a_report_is_written_whole(tmp_path, comparison):
    path = write_report(tmp_path / "deep" / "report.html", comparison)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_strip_places_estimates_in_per_cent_of_its_axis():
    (mark,) = strip({"base": Estimate(0.5, 0.25, 1.5, 9)}, 0.0, 1.0).marks
    assert (mark.kind, mark.at, mark.low, mark.high) == ("base", 50.0, 25.0, 100.0)
    (unknown,) = strip({"base": Estimate(0.5, math.nan, math.nan, 1)}).marks
    assert (unknown.low, unknown.high) == (50.0, 50.0)


def test_a_straight_line_is_drawn_from_corner_to_corner():
    chart = line_chart(Curve("t", "", {"y": ("y",)}), [{"step": i, "y": float(i)} for i in range(0, 101, 10)])
    assert chart is not None
    assert chart.x_ticks[0] == (0.0, "0")
    assert chart.x_ticks[-1] == (100.0, "100")
    assert chart.lines[0].points.split()[5] == "50.00,50.00"


def test_long_runs_are_thinned_and_rows_without_the_metric_are_passed_over():
    rows = [{"step": i, "loss": 1.0} if i % 2 else {"step": i, "other": None} for i in range(5000)]
    chart = line_chart(CURVES[2], [*rows, {"step": 6000, "loss": math.inf}])
    assert chart is not None
    assert len(chart.lines[0].points.split()) == 240
    assert line_chart(CURVES[2], [{"step": 1}]) is None


def test_a_difference_of_two_metrics_is_drawn_where_a_row_has_both():
    chart = line_chart(
        CURVES[3], [{"step": 1, "error_winner": 0.1, "error_ref_winner": 0.2}, {"step": 2, "error_winner": 1}]
    )
    assert chart is not None
    assert [(line.label, line.last) for line in chart.lines] == [("winner", "\N{MINUS SIGN}0.100")]


def test_numbers_are_written_as_a_reader_expects():
    assert percent(0.682) == "68.2%"
    assert points(-0.0521) == "\N{MINUS SIGN}5.2"
    assert single_number(0.9) == "0.900" and single_number(31.21) == "31.2"
    assert single_number(math.nan) == "n/a"
    assert signed(0.031) == "+0.0310"
    assert interval_text(Estimate(0.5, 0.359, 0.462, 4)) == "35.9 to 46.2%"


@pytest.mark.parametrize("prompts", [1, 2, 5])
def test_a_report_of_fewer_than_six_prompts_says_that_nothing_is_known(prompts):
    for images in (1, 2):
        found = cards(drawn_comparison(prompts, images))
        assert [card.word for card in found[:3]] == [FEW] * 3
        assert found[3].word == (FEW if images == 2 else "unknown: one image a prompt")
        assert {card.tone for card in found} == {"open"}
        assert {row.tone for row in measure_rows(drawn_comparison(prompts, images))} == {"open"}


def test_scores_that_no_prompt_changes_are_unknown_and_their_win_rate_is_no_clear_winner(comparison):
    same = Paired(np.full((6, 2), 0.5), np.full((6, 2), 0.5))
    kept = Paired(comparison.diversity.base, comparison.diversity.base)
    verdict = Verdict("clip:x", same, {"score": same})
    words = [card.word for card in cards(dataclasses.replace(comparison, verdicts=(verdict,), diversity=kept))]
    assert words == [ALIKE, "no clear winner", ALIKE]


def test_one_of_a_thing_is_written_in_the_singular():
    assert [count(n, "win") for n in (0, 1, 2, 1234)] == ["0 wins", "1 win", "2 wins", "1,234 wins"]
    assert count(1, "loss", "losses") == "1 loss" and count(0, "loss", "losses") == "0 losses"
    page = re.sub("<[^>]*>", "", render_report(drawn_comparison(1, 1)))
    assert "the same 1 prompt, 1 image each" in page and "1 of 1 pair is shown" in page
    assert not re.search(r"\b1 (wins|ties|losses|pairs|prompts|images)\b", page)


@pytest.mark.parametrize(
    ("low", "high"), [(3210.4, 3211.6), (0.5, 0.500001), (3.2001e9, 3.2012e9), (1e-9, 1.1e-9), (-7, 7)]
)
def test_the_ends_of_an_axis_are_written_so_that_they_differ(low, high):
    write = writer((low, high))
    assert write(low) != write(high) and write(math.nan) == "n/a"
    digits = [float(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) for text in (write(low), write(high))]
    assert digits == pytest.approx([low, high], abs=(high - low) / 10)


def test_a_score_of_thousands_has_no_power_of_ten():
    assert writer((3210.4, 3211.6))(3210.4) == "3,210.4"
    assert single_number(3211.6) == "3,212" and single_number(3.2e9) == "3.20e9" and single_number(0.0) == "0.00"


@pytest.mark.parametrize("value", [0.0, 0.693, 3e9, 1e-14])
def test_a_curve_of_one_point_or_of_one_level_lies_inside_ticks_that_all_differ(value):
    for steps in ([2], [1, 2, 3]):
        chart = line_chart(Curve("t", "", {"y": ("y",)}), [{"step": step, "y": value} for step in steps])
        assert chart is not None
        heights = [float(point.split(",")[1]) for point in chart.lines[0].points.split()]
        assert all(0 < height < 100 for height in heights)
        for labels in ([label for _, label in chart.x_ticks], [label for _, label in chart.y_ticks]):
            assert len(set(labels)) == len(labels) and labels
        assert all(float(label) == int(label) for _, label in chart.x_ticks)


def test_a_curve_of_one_point_is_drawn_as_a_dot(comparison):
    page = render_report(comparison, curves=CURVE[:1])
    assert page.count('class="point line0"') == 4 and 'class="trend' not in page
