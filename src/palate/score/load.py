"""Loads a scorer by its spec, `family:argument`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from palate.core.device import pick_device
from palate.core.errors import InputError, nearest
from palate.core.plugins import ScorerFamily, plugins
from palate.core.user_code import FORM

if TYPE_CHECKING:
    from palate.score.base import Scorer

_in_use: WeakValueDictionary[tuple[str, ...], Scorer] = WeakValueDictionary()


def load_scorer(spec: str, device: str | None = None) -> Scorer:
    """The scorer that a spec names.

    A scorer that is still in use is returned again instead of being loaded twice on one device, unless the folder that
    it was loaded from has changed; when it is no longer in use, it is removed from memory.

    Args:
        spec: a family and its argument, such as `clip:<model>` with a built-in name, a folder or a hub id, or
            `reward:<run>`; a family alone, such as `pickscore`, has its released weights. `palate scorers` lists all.
        device: the best one when left out.

    Raises:
        InputError: there is no such family, measure or model.
    """
    name, _, argument = spec.partition(":")
    family, device = find_family(spec), pick_device(device)
    argument = argument or family.default
    if not argument:
        raise InputError(f"the scorer {spec!r} has no argument; {_examples()}")
    key = (name, argument, device, _state_of(name, argument))
    scorer = _in_use.get(key)
    if scorer is None:
        _in_use[key] = scorer = family.loader()(argument, device)
        if argument == family.default:
            scorer.name = name  # the shortest spec is the name of its column
    return scorer


def fingerprints(scorers: Iterable[Scorer]) -> dict[str, str]:
    """The digest of each scorer by its name, as inputs of a run."""
    return {f"scorer {scorer.name}": scorer.fingerprint() for scorer in scorers}


def scorer_families() -> Mapping[str, ScorerFamily]:
    """Every family of scorers by its name: Palate's own, then those of plug-ins."""
    return {**BUILT_IN, **plugins().scorers}


def find_family(spec: str) -> ScorerFamily:
    """The family of a spec.

    Raises:
        InputError: there is no such family.
    """
    name, known = spec.partition(":")[0], scorer_families()
    if name not in known:
        raise InputError(f"the scorer {spec!r} has no known family{nearest(name, known)}; {_examples()}")
    return known[name]


def may_train(column: str) -> bool:
    """Whether a column of scores may give a training signal, which the scores of a judge of results must not."""
    family = scorer_families().get(column.partition(":")[0])
    return family is None or family.trains


def refuse_judge(scorer: str, what: str) -> None:
    """Raises InputError if a scorer is a judge of results, which must not be used for `what`, such as `rank`."""
    if not may_train(scorer):
        name = scorer.partition(":")[0]
        raise InputError(
            f"{scorer!r} cannot {what}: the {name} judges results and gives no training signal; name another scorer"
        )


def _examples() -> str:
    return f"examples are {', '.join(family.example for family in scorer_families().values())}"


def _state_of(name: str, argument: str) -> str:
    """The names, sizes and times of the files in a model's folder, which change when it is trained again.

    Args:
        name: the family; of a composite, the folders of all parts count.
        argument: its argument.

    Returns:
        An empty text if the argument is not a folder.
    """
    if name == "sum":
        from palate.score.composite import scorer_parts

        return "".join(_state_of("", part.spec.partition(":")[2]) for part in scorer_parts(argument))
    folder = Path(argument).expanduser()
    folder = folder / "model" if (folder / "model").is_dir() else folder
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    found = [(str(file), file.stat()) for file in files]
    return str([(file, of.st_size, of.st_mtime_ns) for file, of in found]) if found else ""


BUILT_IN = {
    "clip": ScorerFamily("palate.score.clip:ClipScorer", "clip:openai/clip-vit-large-patch14"),
    "image": ScorerFamily("palate.score.image:ImageScorer", "image:colourfulness"),
    "pickscore": ScorerFamily("palate.score.pickscore:PickScore", "pickscore", "yuvalkirstain/PickScore_v1"),
    "hpsv2": ScorerFamily("palate.score.hpsv2:Hpsv2Scorer", "hpsv2", "v2.1"),
    "imagereward": ScorerFamily("palate.score.imagereward:ImageRewardScorer", "imagereward", "v1.0"),
    "aesthetic": ScorerFamily("palate.score.aesthetic:AestheticScorer", "aesthetic", "v2"),
    "clipscore": ScorerFamily("palate.score.clipscore:ClipScoreScorer", "clipscore", "openai/clip-vit-base-patch32"),
    "vqa": ScorerFamily("palate.score.vqa:VqaScorer", "vqa:llava-hf/llava-1.5-7b-hf"),
    "unifiedreward": ScorerFamily(
        "palate.score.vqa:UnifiedRewardScorer", "unifiedreward", "CodeGoat24/UnifiedReward-qwen-7b"
    ),
    "ocr": ScorerFamily("palate.score.ocr:OcrScorer", "ocr", "quoted"),
    "nsfw": ScorerFamily("palate.score.nsfw:NsfwScorer", "nsfw", "open_nsfw"),
    "safety": ScorerFamily("palate.score.safety:SafetyScorer", "safety", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    "aesthetic_v2_5": ScorerFamily(
        "palate.score.aesthetic_v2_5:AestheticV25Scorer", "aesthetic_v2_5", "google/siglip-so400m-patch14-384"
    ),
    "hpsv3": ScorerFamily("palate.score.hpsv3:Hpsv3Scorer", "hpsv3", "MizzenAI/HPSv3"),
    "mps": ScorerFamily("palate.score.mps:MpsScorer", "mps:mps.pth"),
    "remote": ScorerFamily("palate.score.remote:RemoteScorer", "remote:http://127.0.0.1:8400"),
    "implicit": ScorerFamily("palate.score.implicit:ImplicitScorer", "implicit:runs/dpo"),
    "reward": ScorerFamily("palate.score.reward:RewardScorer", "reward:runs/reward"),
    "python": ScorerFamily("palate.score.user:UserScorer", FORM),
    "sum": ScorerFamily("palate.score.composite:CompositeScorer", "sum:0.7*pickscore+0.3*aesthetic"),
}
"""Palate's own families. A new one is a file and a line."""
