"""A run that is killed at any moment and started again until it is done ends with an undisturbed run's weights."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
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
    command = [sys.executable, "-m", "palate", "align", "dpo", *flags, "--out", str(out), "--cache", str(cache)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr


def kill_after(process, moment):
    """Kills the process group-free: one process, at a moment after its start or when it is done."""
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def weights(folder):
    return load_file(folder / "model" / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(world):
    """The folder of a run that nothing disturbs, and its seconds."""
    root, flags = world
    begun = time.monotonic()
    finish(start(flags, root / "undisturbed", root / "cache 1"))
    return root / "undisturbed", time.monotonic() - begun


def test_kill_9_at_random_moments_and_resume_ends_bit_for_bit_the_same(world, undisturbed):
    (root, flags), (whole, seconds) = world, undisturbed
    moments = random.Random(derive(0, "kill"))
    out, cache = root / "killed", root / "cache 2"
    for _ in range(3):  # anywhere from the imports to the saved model
        process = start(flags, out, cache)
        kill_after(process, moments.uniform(0.3, 1.0) * seconds)
        process.communicate()
    finish(start(flags, out, cache))
    expected, found = weights(whole), weights(out)
    assert expected.keys() == found.keys() and all(expected[name].equal(found[name]) for name in expected)
    assert (out / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


def test_ctrl_c_says_how_to_go_on_and_going_on_ends_the_same(world, undisturbed):
    root, flags = world
    process = start(flags, root / "interrupted", root / "cache 1")
    while not list((root / "interrupted").glob("checkpoints/step-*")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "run the same command again" in stderr and "Traceback" not in stderr
    finish(start(flags, root / "interrupted", root / "cache 1"))
    expected, found = weights(undisturbed[0]), weights(root / "interrupted")
    assert all(expected[name].equal(found[name]) for name in expected)
