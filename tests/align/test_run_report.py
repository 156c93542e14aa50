"""The live report of a run: what it shows, and that it costs next to nothing."""

import re
import time

import numpy as np
import pytest
from PIL import Image

from palate.align.curves import run_charts
from palate.align.methods.dpo import DPOConfig
from palate.align.run_report import COLUMNS, RunReport
from palate.align.validation.best import Criterion
from palate.align.validation.setup import ValidationInputs
from palate.core.runs import RunFolder
from palate.generate.image_plan import plan_images
from palate.records.jsonlines import JsonLines

EVIL = '<script>alert("x")</script>'
PROMPTS = ["a star", EVIL]


def line(step, **more):
    errors = {"error_winner": 0.1, "error_ref_winner": 0.1, "error_loser": 0.12, "error_ref_loser": 0.1}
    return {"loss": 0.69 - step / 1000, "accuracy": 0.5 + step / 200, "margin": 0.0, "lr": 1e-4, **errors, **more}


def row(step, median):
    scores = {
        "image:brightness": {"median": median, "median_low": median - 0.1, "median_high": median + 0.1, "mean": 0.4}
    }
    held_out = {"loss": 0.69, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    return {"step": step, "seconds": 2.0, "images": 2, "failed": 0, "scores": scores, "held_out": held_out}


@pytest.fixture
def report(tmp_path):
    config = DPOConfig(model="tiny-sd", preferences=EVIL, out=tmp_path / "run", steps=100)
    run = RunFolder.open(config.out, "align dpo", config)
    items = plan_images(PROMPTS, 1)
    inputs = ValidationInputs(PROMPTS, items, (), None, np.empty(0, int), Criterion("image:brightness"))
    for step in range(10, 60, 10):
        run.log(step, **line(step))
    rows = [row(0, 0.5), row(25, 0.7), row(50, 0.6)]
    JsonLines(run.path / "validation.jsonl").append(rows)
    for each in rows:
        for item in items[: 1 if each["step"] == 50 else 2]:
            path = run.path / "samples" / f"step-{each['step']}" / item.file_name.rpartition("/")[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (each["step"], 0, 0)).save(path)
    return RunReport(run, config, "dpo", inputs)


def test_the_page_is_one_file_without_scripts_and_everything_in_it_is_escaped(report):
    page = report.render("running")
    assert re.findall(r'(?:src|href)="(?!data:image/webp;base64,)', page) == []
    assert not re.search(r"https?://|@import|url\(|<script|<link", page)
    assert page.count("&lt;script&gt;") >= 3  # a prompt, its images' texts and the preferences


def test_a_running_page_loads_itself_again_and_a_finished_one_does_not(report):
    assert 'http-equiv="refresh" content="15"' in report.render("running")
    for state in ("stopped", "finished"):
        assert "refresh" not in report.render(state)
    assert "the same command continues the run" in report.render("stopped")


def test_it_shows_the_progress_the_best_model_and_the_samples_of_every_validation(report):
    page = " ".join(report.render("finished").split())
    assert "Step 50 of 100" in page
    assert "Step 25, by median of image:brightness: 0.700 (the base model has 0.500)" in page
    assert page.count("<img") == 5 and page.count('class="none"') == 1
    assert all(f">{step}</th>" in page for step in ("base", "step 25", "step 50"))


def test_charts_have_training_and_held_out_lines_and_the_base_model_s_score_as_a_reference(report):
    charts = {chart.curve.title: chart for chart in run_charts(report.run.metrics(), [row(0, 0.5), row(50, 0.6)])}
    assert [each.label for each in charts["Implicit accuracy"].lines] == ["training", "held-out"]
    scores = charts["image:brightness"]
    assert scores.curve.reference == 0.5 and scores.lines[0].band and not scores.lines[1].band
    assert [each.label for each in charts["Denoising error minus the base model's"].lines] == ["winner", "loser"]


def test_many_places_are_drawn_as_the_first_two_and_the_last_two():
    names = [f"error_{kind}place_{n}" for n in range(1, 12) for kind in ("", "ref_")]
    lines = [{"step": step, "loss": 1.0, **dict.fromkeys(names, 0.1)} for step in range(3)]
    drawn = next(chart for chart in run_charts(lines, []) if chart.curve.title.startswith("Denoising error"))
    assert [each.label for each in drawn.lines] == ["place_1", "place_2", "place_10", "place_11"]


def test_a_metric_of_a_user_s_own_method_has_a_chart():
    lines = [{"step": step, "loss": 1.0, "my_metric": 2.0} for step in range(3)]
    assert "My metric" in [chart.curve.title for chart in run_charts(lines, [])]


def test_samples_of_many_validations_are_thinned_out(report):
    JsonLines(report.run.path / "validation.jsonl").replace([row(step, 0.5) for step in range(40)])
    page = report.render("finished")
    assert page.count('<th scope="col">step ') == COLUMNS - 1 and ">step 39</th>" in page


def test_a_page_without_metrics_is_a_page(tmp_path):
    config = DPOConfig(model="tiny-sd", preferences="tiny-preferences", out=tmp_path / "run")
    run = RunFolder.open(config.out, "align dpo", config)
    inputs = ValidationInputs((), (), (), None, np.empty(0, int), Criterion())
    page = RunReport(run, config, "dpo", inputs).render("running")
    assert "Step 0 of 2,000" in page and "too early to tell" in page and "<table class" not in page


def test_it_is_written_again_only_after_a_hundred_times_what_it_took(report, monkeypatch):
    clock, written = [1000.0], []

    def render(state):
        written.append(clock[0])
        clock[0] += 0.5
        return ""

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(report, "render", render)
    report.write()
    for _ in range(110):  # a line of metrics every second
        clock[0] += 1.0
        report.write(now=False)
    assert len(written) == 3 and written[1] - written[0] == pytest.approx(51.5)


def test_an_error_leaves_the_page_of_a_stopped_run(report):
    with pytest.raises(KeyboardInterrupt), report.live():
        assert "running" in (report.run.path / "report.html").read_text()
        raise KeyboardInterrupt
    assert "stopped" in (report.run.path / "report.html").read_text()
