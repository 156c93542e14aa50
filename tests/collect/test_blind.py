"""No rater learns which system made an image: not from the page, its requests, or the pictures themselves."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collect.database import noise, rows
from collect.web import Site, screens, site, vote
from fastapi.testclient import TestClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from palate.collect.config import StudyConfig
from palate.collect.new import new_study

SECRET = "zebra"
"""Part of everything that a rater must not see, in whatever case."""
SYSTEMS = {"Zebra-XL": ("PNG", (24, 20)), "zebra-turbo": ("JPEG", (16, 24))}
PARAMETERS = "a tin, zebra-lora:0.8\nNegative prompt: zebra\nSteps: 20, Sampler: Euler a, Model: zebra-v1, Seed: 12345"


def with_metadata(image: Image.Image, kind: str) -> bytes:
    """An encoded picture with all kinds of metadata: parameters, EXIF, XMP, a comment, a colour profile."""
    exif, text, data = Image.Exif(), PngInfo(), io.BytesIO()
    exif[0x010E], exif[0x0131], exif[0x9286] = PARAMETERS, "zebra-renderer", PARAMETERS
    for key in ("parameters", "prompt", "workflow", "Software", "XML:com.adobe.xmp"):
        text.add_text(key, PARAMETERS)
        text.add_itxt(key, PARAMETERS, zip=False)
    if kind == "PNG":
        image.save(data, kind, pnginfo=text, exif=exif, icc_profile=b"zebra profile", dpi=(72, 72))
    else:
        image.save(data, kind, exif=exif, comment=b"zebra", icc_profile=b"zebra profile", xmp=b"<x>zebra</x>")
    return data.getvalue()


def revealing(folder: Path, system: str, prompts: int) -> Path:
    """A folder as from `palate generate` in which every file names its model."""
    kind, size = SYSTEMS[system]
    (folder / system).mkdir(parents=True)
    table = []
    for number in range(prompts):
        name = f"{system}-{number}.{kind.lower()}"
        (folder / system / name).write_bytes(with_metadata(noise(number, system, size), kind))
        row = {"file_name": name, "prompt": f"a tin, {number}", "prompt_index": number, "image_index": 0}
        table.append(json.dumps({**row, "seed": 98_765_000 + number, "model": system, "sampler": "zebra-sampler"}))
    (folder / system / "metadata.jsonl").write_text("\n".join(table) + "\n")
    return folder / system


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("blind")
    sources = [revealing(folder / "zebras", system, 8) for system in SYSTEMS]
    with site(folder / "study", images=tuple(f"{path.name}={path}" for path in sources), mirror=0.3) as made:
        yield made


def shown(client: TestClient) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Every screen of a rater with the answers that brought its pictures; each screen is voted on."""
    while found := screens(client, 1):
        yield found[0], [client.get(image["src"]) for image in found[0]["images"]]
        assert vote(client, found[0]["assignment"]).status_code == 200


def heard(answer: Any) -> bytes:
    """The complete answer: its headers and its body."""
    return str(dict(answer.headers)).lower().encode() + answer.content.lower()


def chunks(png: bytes) -> list[bytes]:
    """The kinds of the chunks of a PNG file."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    kinds, at = [], 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kinds.append(png[at + 4 : at + 8])
        at += size + 12
    assert at == len(png)
    return kinds


def test_the_source_images_of_this_study_do_name_their_model(blind):
    for path in blind.study.folder.parent.glob("zebras/*/*.*g"):
        assert b"zebra-v1" in path.read_bytes()
    told = rows(blind.study, "SELECT system, source, about FROM image")
    assert len(told) == 16 and all("zebra" in str(each).lower() for each in told)


def test_nothing_that_a_rater_receives_names_the_system_of_an_image(blind):
    client = blind.rater("a rater")
    answers = [client.get(path) for path in ("/", "/api/screens", "/static/style.css", "/static/rater.js")]
    answers += [client.get("/nothing", headers={"accept": kind}) for kind in ("text/html", "*/*")]
    answers += [client.post("/api/votes", json={"assignment": 1}), client.get("/i/" + "x" * 22), client.get("/owner")]
    pictures = [picture for _, each in shown(client) for picture in each]
    assert len(pictures) >= 16
    for answer in [*answers, *pictures, client.get("/api/screens")]:
        said = heard(answer)
        assert SECRET.encode() not in said and b"98765" not in said and b"euler" not in said
        assert str(blind.study.folder.parent).lower().encode() not in said


def test_pictures_contain_only_pixels_in_one_format_and_one_size_for_each_screen(blind):
    for screen, answers in shown(blind.rater("another rater")):
        sizes = set()
        for told, answer in zip(screen["images"], answers):
            assert answer.headers["content-type"] == "image/png"
            assert {*chunks(answer.content)} == {b"IHDR", b"IDAT", b"IEND"}
            picture = Image.open(io.BytesIO(answer.content))
            assert (picture.mode, picture.size) == ("RGB", (told["width"], told["height"]))
            sizes.add(picture.size)
        assert sizes == {(16, 20)}


def test_a_screen_says_neither_which_image_it_shows_nor_whether_it_is_a_repeat(blind):
    seen: dict[bytes, set[str]] = {}
    for screen, answers in shown(blind.rater("a third rater")):
        assert screen.keys() == {"assignment", "prompt", "images"}
        for told, answer in zip(screen["images"], answers):
            assert told.keys() == {"src", "width", "height"} and len(told["src"]) == len("/i/") + 22
            assert {*answer.headers} & {"etag", "last-modified", "content-disposition", "x-sendfile"} == set()
            seen.setdefault(answer.content, set()).add(told["src"])
    names = [name for each in seen.values() for name in each]
    assert len(names) == len(set(names)) > len(seen) == 16  # repeats show the same pictures under new names


def test_only_the_database_of_a_study_has_metadata(blind):
    for path in (blind.study.folder / "images").iterdir():
        assert SECRET not in path.name.lower() and SECRET.encode() not in path.read_bytes().lower()


def test_metadata_is_removed_from_pictures_of_ranked_sets_too(tmp_path):
    source = tmp_path / "pairs"
    source.mkdir()
    lines = ["prompt,preferred,rejected"]
    for number in range(3):
        for side, system in enumerate(SYSTEMS):
            kind, size = SYSTEMS[system]
            (source / f"zebra{number}{side}.png").write_bytes(with_metadata(noise(number, system, size), kind))
        lines.append(f"a tin {number},zebra{number}0.png,zebra{number}1.png")
    (source / "metadata.csv").write_text("\n".join(lines) + "\n")
    made = new_study(StudyConfig(out=tmp_path / "study", preferences=str(source)))
    kept = [path.read_bytes() for path in (made.folder / "images").iterdir()]
    assert len(kept) == 6
    for data in kept:
        assert {*chunks(data)} == {b"IHDR", b"IDAT", b"IEND"} and SECRET.encode() not in data
