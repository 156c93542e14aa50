"""The tensors that a pipeline's parts must have, and those that a folder lacks.

Diffusers and transformers only warn of a missing tensor and leave random numbers in its place. Here the part is built
without memory for its weights, and its tensors are compared with the headers of the files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from palate.core.errors import InputError, nearest
from palate.models.parts import check_weights, has_weights, read_json, variants
from palate.models.quiet import quiet_libraries

LIBRARIES = ("diffusers", "transformers")
SHOWN = 3
OLD_ATTENTION = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))
"""Names of an autoencoder's attention in models of 2022, which diffusers still reads."""


def some(names: Collection[str]) -> str:
    """The first few names, and how many there are."""
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def expected_tensors(folder: Path, part: str, library: str, kind: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a part's tensors by name, from its configuration alone.

    Args:
        folder: the pipeline's folder.
        part: the part's name.
        library: `diffusers` or `transformers`.
        kind: its class.

    Raises:
        InputError: the configuration is not one of this class.
    """
    import torch
    from accelerate import init_empty_weights

    cls = _class(library, kind)
    try:
        with init_empty_weights(), torch.random.fork_rng(devices=[]):  # building it draws numbers all the same
            if library == "diffusers":
                network = cls.from_config(read_json(folder / part / "config.json"))
            else:
                network = cls(cls.config_class.from_pretrained(str(folder / part)))
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError, OSError) as error:
        where = f"{folder / part}/config.json"
        raise InputError(f"{where} is not the configuration of a {kind} ({error}); fetch it again") from error
    tied = set(getattr(network, "_tied_weights_keys", None) or ())
    return {name: tuple(value.shape) for name, value in network.state_dict().items() if name not in tied}


def check_known(family: str, base: Path | str) -> None:
    """Raises InputError, with the nearest family that Palate trains, if diffusers has no pipeline of this class."""
    import diffusers

    with quiet_libraries():
        known = hasattr(diffusers, family)
    if not known:
        from palate.models.families import FAMILIES

        what = f"{base} is a {family}, which diffusers {diffusers.__version__} does not know{nearest(family, FAMILIES)}"
        raise InputError(f"{what}; upgrade diffusers or give another model, `palate models` lists families")


def check_complete(folder: Path, parts: Mapping[str, tuple[str, str]], variant: str | None) -> None:
    """Checks that no tensor is missing in the weights of a pipeline's parts, from the headers of their files.

    Args:
        folder: the pipeline's folder.
        parts: the library and the class of each part by its name; parts of other libraries, parts without weights and
            quantised ones are not checked.
        variant: the variant of the weights that will be loaded, if the part has it.

    Raises:
        InputError: tensors are missing; the message names the part and a few of them.
    """
    for part, (library, kind) in parts.items():
        if _class(library, kind) is None or not has_weights(folder / part):
            continue
        if "quantization_config" in read_json(folder / part / "config.json"):
            continue
        files = [file for file in sorted((folder / part).glob("*")) if file.is_file()]
        changed = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
        if missing := _missing(folder, part, library, kind, variant, changed):
            what = f"the part {part!r} ({kind}) of the model in {folder} lacks {len(missing)} tensors"
            fix = "fetch the model again, or save it again from where it was made"
            raise InputError(f"{what} that its config.json asks for: {some(missing)}; {fix}")


@lru_cache(maxsize=256)
def _missing(
    folder: Path, part: str, library: str, kind: str, variant: str | None, changed: tuple[tuple[str, int, int], ...]
) -> frozenset[str]:
    """The names of a part's missing tensors; `changed`, of its files, is part of the cache's key."""
    if library == "diffusers":
        found = variants(folder / part)
        names = _present(found.get(variant or "", found.get("", [])))
        return frozenset(set(expected_tensors(folder, part, library, kind)) - names)
    cls = _class(library, kind)
    with quiet_libraries():  # transformers knows the names of all its earlier versions
        options: dict[str, Any] = {"device_map": "meta", "output_loading_info": True, "use_safetensors": True}
        chosen = variant if variant in variants(folder / part) else None
        try:
            _, found = cls.from_pretrained(str(folder / part), variant=chosen, **options)
        except (ImportError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            raise InputError(f"transformers cannot open the part {part!r} of the model in {folder}: {error}") from error
    return frozenset(found["missing_keys"])


def _class(library: str, kind: str) -> Any:
    """A class of diffusers or transformers; None for others, which are checked when they are loaded."""
    return getattr(import_module(library), kind, None) if library in LIBRARIES else None


def _present(files: Iterable[Path]) -> set[str]:
    names = {name for file in files for name in check_weights(file)}
    old = {name.replace(ours, theirs) for name in names for ours, theirs in OLD_ATTENTION if ours in name}
    return names | old
