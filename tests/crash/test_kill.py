"""A run that is killed at any moment and started again until it is done ends with an undisturbed run's weights."""

import os
import random
import signal
import time

import pytest
from forked import palate
from safetensors.torch import load_file
from tiny_pipelines import random_stable_diffusion

from palate.core.seeds import derive

STEPS = 40


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The shared flags of a run that checkpoints at every second step."""
    root = tmp_path_factory.mktemp("kill")
    model = random_stable_diffusion(root / "model")
    pairs = root / "pairs"
    pairs.mkdir()
    rows = ["prompt,preferred,rejected"]
    for number in range(6):
        for name, shade in (("light", 230), ("dark", 20)):
            picture(shade + number).save(pairs / f"{name}{number}.png")
        rows.append(f"{number} stars,light{number}.png,dark{number}.png")
    (pairs / "metadata.csv").write_text("\n".join(rows) + "\n")
    flags = {"model": model, "preferences": pairs, "steps": STEPS, "batch": 4, "lr": 1e-3, "checkpoint-every": 2}
    flags |= {"device": "cpu", "log-every": 5, "train": "full"}
    return root, [str(word) for name, value in flags.items() for word in (f"--{name}", value)]


def picture(shade):
    from PIL import Image

    return Image.new("RGB", (16, 16), (shade, shade // 2, 90))


def start(flags, out, cache):
    return palate(["align", "dpo", *flags, "--out", str(out), "--cache", str(cache)], errors(out))


def errors(out):
    """The file of what the last process of a run printed."""
    return out.with_suffix(".txt")


def finish(process, out):
    process.join(300)
    assert process.exitcode == 0, errors(out).read_text()


def kill_after(process, moment):
    """Kills the process at a moment after its start, if it is not done by then."""
    process.join(moment)
    process.kill()
    process.join()


def weights(folder):
    return load_file(folder / "model" / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(world):
    """The folder of a run that nothing disturbs, and its seconds."""
    root, flags = world
    begun = time.monotonic()
    out = root / "undisturbed"
    finish(start(flags, out, root / "cache 1"), out)
    return out, time.monotonic() - begun


def test_kill_9_at_random_moments_and_resume_ends_bit_for_bit_the_same(world, undisturbed):
    (root, flags), (whole, seconds) = world, undisturbed
    moments = random.Random(derive(0, "kill"))
    out, cache = root / "killed", root / "cache 2"
    for _ in range(3):  # anywhere from the first file to the saved model
        kill_after(start(flags, out, cache), moments.uniform(0.3, 1.0) * seconds)
    finish(start(flags, out, cache), out)
    expected, found = weights(whole), weights(out)
    assert expected.keys() == found.keys() and all(expected[name].equal(found[name]) for name in expected)
    assert (out / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


def test_ctrl_c_says_how_to_go_on_and_going_on_ends_the_same(world, undisturbed):
    root, flags = world
    out = root / "interrupted"
    process = start(flags, out, root / "cache 1")
    while not list(out.glob("checkpoints/step-*")) and process.is_alive():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.join(300)
    printed = errors(out).read_text()
    assert process.exitcode == 130 and "run the same command again" in printed and "Traceback" not in printed
    finish(start(flags, out, root / "cache 1"), out)
    expected, found = weights(undisturbed[0]), weights(out)
    assert all(expected[name].equal(found[name]) for name in expected)
