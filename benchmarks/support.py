"""Which model families and scorers are supported, by the results of their tests: makes docs/support.md.

    python benchmarks/support.py [families] [scorers] [--only NAME ...]

Runs the tests of every family (also those marked slow, without those at true size) on the small twins, and writes one
row for each twin. A cell is filled where all of its tests passed, and empty where there is none. True sizes come from
the last results in docs/align.md, by name. The table of scorers is made by `support_scorers.py`; `scorers` alone takes
a minute.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from support_scorers import TITLE, scorers_section

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "support.md"
TESTS = ("tests/models/test_families.py", "tests/align/test_families.py")
COLUMNS = {
    "predict": ("test_the_adapter_predicts", "test_one_step_of_the_scheduler", "test_latents_are_encoded"),
    "prompts": ("test_a_prompt_is_encoded", "test_a_prediction_does_not_depend"),
    "sample": ("test_a_picture_is_the_plain_pipeline_s",),
    "dpo": ("test_dpo_begins_at_its_reference",),
    "sft, kto": ("test_kto_and_sft_train_it_by_lora",),
    "LoRA round trip": ("test_a_saved_lora_is_loaded",),
    "full round trip": ("test_a_saved_pipeline_is_opened",),
}
TRUE_SIZE = {"sd-eps": "SD1.5", "sdxl": "SDXL", "sd3": "SD3.5 medium"}
"""The twins whose family has a test at true size, and what docs/align.md calls it."""

HEAD = """# Supported model families

Made by `python benchmarks/support.py` from the results of the tests; each row is a small pipeline of the very same
diffusers and transformers classes with random weights. `palate models` says what each family is and needs, and why some
other pipelines cannot be trained.

- **predict**: the adapter gives what the family's own pipeline computes in each of its denoising steps, guidance
  included; latents are scaled as the pipeline does; one step from a perfect prediction lands on the image.
- **prompts**: encoded as the pipeline does, whatever they are encoded with; a longer prompt in the batch
  changes nothing.
- **sample**: `palate generate` gives the plain pipeline's image for the same prompt and seed; the images are not
  square.
- **dpo**: the loss begins at log 2, with LoRA and with all weights, in float32 and bfloat16, latents cached and
  streamed.
- **round trips**: the saved LoRA, or pipeline, is loaded by plain diffusers and predicts what was trained; the pipeline
  is trained on images of several shapes, at two resolutions.
- **true size**: a cached DPO LoRA step at 256 pixels with the released architecture, in the memory of a 24 GiB machine
  ([measured](align.md)).

"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes docs/support.md from the results of the tests.")
    parser.add_argument("parts", nargs="*", metavar="families|scorers", help="what is made anew; both when left out")
    parser.add_argument("--only", nargs="+", default=[], help="twins; prints their rows and leaves the page as it is")
    options = parser.parse_args()
    if wrong := set(options.parts) - {"families", "scorers"}:
        parser.error(f"{wrong.pop()!r} is not families or scorers")
    if options.only:
        print(*families_table(options.only), sep="\n")
        return
    families, title, scorers = PAGE.read_text("utf-8").partition(TITLE)
    asked = options.parts or ["families", "scorers"]
    if "families" in asked:
        families = HEAD + "\n".join(families_table([])) + "\n\n"
    section = scorers_section(ROOT) if "scorers" in asked else title + scorers
    PAGE.write_text(families.rstrip() + "\n\n" + section, encoding="utf-8")


def families_table(only: list[str]) -> list[str]:
    """The rows of the table of families."""
    with tempfile.TemporaryDirectory() as folder:
        results = run(Path(folder) / "results.xml", only)
    rows = [f"| family | {' | '.join(COLUMNS)} | true size |", f"|---{'|---' * (len(COLUMNS) + 1)}|"]
    return rows + [row(name, results[name], measured_sizes()) for name in sorted(results)]


def run(file: Path, only: list[str]) -> Mapping[str, Mapping[str, list[bool]]]:
    """Runs the tests; by twin and test, whether each of its cases passed. Skipped cases do not count."""
    chosen = ["-k", " or ".join(only)] if only else []
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", f"--junitxml={file}", *chosen, *TESTS]
    subprocess.run(command, cwd=ROOT, check=False)
    found: dict[str, dict[str, list[bool]]] = {}
    for test, parameters, passed in cases(file):
        name = next((twin for twin in sorted(twins(), key=len, reverse=True) if named(twin, parameters)), None)
        if name:
            found.setdefault(name, {}).setdefault(test, []).append(passed)
    return found


def cases(file: Path) -> Iterator[tuple[str, str, bool]]:
    """Test, parameters and whether it passed, of each case that was not skipped."""
    for case in ElementTree.parse(file).getroot().iter("testcase"):
        match = re.fullmatch(r"(\w+)\[(.*)\]", case.attrib["name"])
        if match and case.find("skipped") is None:
            yield match[1], match[2], case.find("failure") is None and case.find("error") is None


def twins() -> list[str]:
    """The names of all twins."""
    sys.path.insert(0, str(ROOT / "tests"))
    from twins import TWINS  # pyright: ignore[reportMissingImports]

    return list(TWINS)


def named(twin: str, parameters: str) -> bool:
    """Whether a case is of a twin: its name is among the parameters, which are joined by hyphens."""
    return re.search(rf"(^|-){re.escape(twin)}($|-)", parameters) is not None


def row(name: str, results: Mapping[str, list[bool]], sizes: Mapping[str, str]) -> str:
    """A row of the table."""
    cells = []
    for tests in COLUMNS.values():
        outcomes = [passed for test, found in results.items() if test.startswith(tests) for passed in found]
        cells.append("" if not outcomes else "yes" if all(outcomes) else "**fails**")
    return f"| `{name}` | {' | '.join(cells)} | {sizes.get(TRUE_SIZE.get(name, ''), '')} |"


def measured_sizes() -> dict[str, str]:
    """What docs/align.md says of each size that was measured: `| SDXL | 12 s | 9.1 GB |`."""
    lines = (ROOT / "docs" / "align.md").read_text("utf-8").splitlines()
    found = [re.fullmatch(r"\| ([\w. ]+) \| ([\d.]+ s) \| ([\d.]+ GiB) \|.*", line) for line in lines]
    return {match[1]: f"{match[2]}, {match[3]}" for match in found if match}


if __name__ == "__main__":
    main()
