"""Ten annotators' rankings of thirty prompts, sent through the HTTP API: the study measures what the file says."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from collect.test_quality_hpdv2 import NINE, likeliest, ordinal_alpha
from fastapi.testclient import TestClient
from sqlalchemy import select

from palate.collect.config import ServeConfig, StudyConfig
from palate.collect.database_rows import HandleRow, ImageRow
from palate.collect.new import new_study
from palate.collect.quality.study_quality import quality
from palate.collect.study import OpenStudy, open_study
from palate.collect.web.app import create_app
from palate.prefer.load import load_preferences
from palate.records.ranked import rank

HERE = "http://study.test"
ANNOTATORS = 10


def systems_of(study: OpenStudy, screen: dict) -> list[str]:
    """The system of the image at each position, hidden from raters; the keys of the annotators' rows."""
    names = [image["src"].removeprefix("/i/") for image in screen["images"]]
    with study.database.read() as session:
        query = select(HandleRow.name, ImageRow.system).join(ImageRow, ImageRow.id == HandleRow.image_id)
        found = dict(map(tuple, session.execute(query.where(HandleRow.name.in_(names)))))
    return [found[name] for name in names]


def replay(study: OpenStudy, annotator: int, rows: dict[str, dict[str, int]]) -> int:
    """Answers every screen of one rater as an annotator ranked its images; returns how many there were."""
    client = TestClient(create_app(study, ServeConfig(study=study.folder)), base_url=HERE)
    page = client.get(f"/r/{study.add_rater(f'annotator {annotator}')}", headers={"accept": "text/html"}).text
    headers = {"origin": HERE, "x-csrf-token": page.split('name="csrf" content="')[1].split('"')[0]}
    count = 0
    while screens := client.get("/api/screens").json()["screens"]:
        screen = screens[0]
        ranks = rows[screen["prompt"]]
        answer = list(rank([ranks[system] for system in systems_of(study, screen)]))
        vote = {"uuid": str(uuid.uuid4()), "assignment": screen["assignment"], "kind": "answer", "seconds": 5.0}
        sent = client.post("/api/votes", json={**vote, "answers": {"general": answer}}, headers=headers)
        assert sent.status_code == 200, sent.text
        count += 1
    return count


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_annotators_replayed_through_the_study_have_the_agreement_and_order_of_the_file(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "hpdv2_test30"
    sets = load_preferences(source)
    config = StudyConfig(
        out=tmp_path / "study",
        preferences=str(source),
        task="ranking",
        n=NINE,
        raters_per_item=ANNOTATORS,
        mirror=0.0,
    )
    study = open_study(new_study(config).folder)
    for annotator in range(ANNOTATORS):
        rows = {each.prompt: dict(zip(each.systems, each.votes[annotator].ranks)) for each in sets}
        assert replay(study, annotator, rows) == len(sets)
    found = quality(study)
    assert found.progress.votes == ANNOTATORS * len(sets) and found.progress.complete == len(sets)
    units = [[rank(vote.ranks[:NINE])[image] for vote in each.votes] for each in sets for image in range(NINE)]
    assert found.agreement[0].alpha.value == pytest.approx(ordinal_alpha(units), abs=1e-9)
    direct = likeliest(sets, NINE)
    standing = found.standings[0]
    assert list(standing.systems) == sorted(direct, key=lambda system: -direct[system])
    for system, strength in zip(standing.systems, standing.strengths):
        assert strength.value == pytest.approx(direct[system], abs=1e-3)
    study.close()
