"""Fuses a LoRA into a pipeline: all of it is added to the weights, or it is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.finite import require_finite
from palate.models.lora_file import Lora
from palate.models.parts import check_lora
from palate.models.peft_lora import fuse_peft
from palate.models.source import NETWORKS

ADAPTER = ("lora_", "lokr_")
"""Parts of the names of an adapter's parameters in a network that has one."""


def fuse_lora(pipeline: Any, lora: Lora, parts: Collection[str]) -> None:
    """Adds a LoRA's matrices to the weights of some parts of a pipeline, as diffusers loads and fuses them.

    Args:
        pipeline: a diffusers pipeline; it may lack parts.
        lora: a LoRA in any format that the pipeline reads; or in peft's own, which is one of the network.
        parts: the parts to which the LoRA is added; its tensors for other parts (absent ones, or a network that
            contains it already) are ignored.

    Raises:
        InputError: the pipeline takes no LoRA, or the file belongs to another model, contains tensors that would not be
            used, or contains a number that is not finite.
    """
    file = lora.file
    if lora.is_peft:
        if (network := next((part for part in NETWORKS if part in parts), None)) is not None:
            fuse_peft(getattr(pipeline, network), file, lora.weight)
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise InputError(f"{file} is a LoRA, and diffusers' {type(pipeline).__name__} does not support LoRAs")
    check_lora(file)
    try:
        with _selected(pipeline, parts) as taken:
            _load(pipeline, file.parent, file.name, parts)
    except (ValueError, RuntimeError, KeyError, AttributeError, NotImplementedError) as error:
        reason = " ".join(line.strip() for line in str(error).strip().splitlines()[:2]) or type(error).__name__
        raise InputError(f"{file} is not a LoRA for this {type(pipeline).__name__}: {reason}") from error
    _require_whole(pipeline, file, taken, parts)
    if changed := [part for part in parts if _adapters(getattr(pipeline, part, None))]:
        pipeline.fuse_lora(components=changed, lora_scale=lora.weight)
        pipeline.unload_lora_weights()


def _load(pipeline: Any, folder: Path, name: str, parts: Collection[str]) -> None:
    """Loads a LoRA with the pipeline's own method; in a pipeline without a network, only that of the text encoders."""
    network = next((part for part in NETWORKS if hasattr(pipeline, part)), "")
    if getattr(pipeline, network, None) is not None:
        return pipeline.load_lora_weights(folder, weight_name=name)
    state, alphas, metadata = _unpacked(pipeline.lora_state_dict(folder, weight_name=name, return_lora_metadata=True))
    for part in parts:
        if any(key.startswith(f"{part}.") for key in state):
            pipeline.load_lora_into_text_encoder(
                state, alphas, getattr(pipeline, part), prefix=part, metadata=metadata, _pipeline=pipeline
            )
    return None


@contextmanager
def _selected(pipeline: Any, parts: Collection[str]) -> Iterator[dict[str, Any]]:
    """Makes the pipeline load only the LoRA tensors of some parts; yields a dict that collects all tensors read."""
    read, taken = pipeline.lora_state_dict, {}
    known = set(pipeline._lora_loadable_modules)

    def reading(*args: Any, **kwargs: Any) -> Any:
        found = read(*args, **kwargs)
        state, alphas, metadata = _unpacked(found)
        taken.update(state)
        others = tuple(f"{part}." for part in known - set(parts))

        def kept(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
            if values is None:
                return None
            return {key: value for key, value in values.items() if not key.startswith(others)}

        if not isinstance(found, tuple):
            return kept(state)
        return (kept(state), kept(alphas), kept(metadata)) if len(found) == 3 else (kept(state), kept(metadata))

    pipeline.lora_state_dict = reading
    try:
        yield taken
    finally:
        del pipeline.lora_state_dict


def _unpacked(found: Any) -> tuple[dict[str, Any], Any, Any]:
    """The tensors, alphas and metadata in what a pipeline's `lora_state_dict` returns, which has three forms."""
    if not isinstance(found, tuple):
        return found, None, None
    return found if len(found) == 3 else (found[0], None, found[1])


def _require_whole(pipeline: Any, file: Path, taken: Mapping[str, Any], parts: Collection[str]) -> None:
    """Raises InputError unless every tensor read is finite and became a parameter or belongs to an ignored part."""
    require_finite(f"the weights in {file}", taken, fix="the run that made it diverged", error=InputError)
    known = tuple(f"{part}." for part in pipeline._lora_loadable_modules)
    if strange := [key for key in taken if not key.startswith(known)]:
        raise InputError(f"{file} cannot be used whole: {strange[0]!r} belongs to no part of {type(pipeline).__name__}")
    for part in parts:
        given = [key for key in taken if key.startswith(f"{part}.") and not key.endswith(".alpha")]
        if len(given) != (used := len(_adapters(getattr(pipeline, part, None)))):
            what = f"{len(given)} tensors for the part {part!r}, of which the model takes {used}"
            raise InputError(f"{file} cannot be used whole: it contains {what}; it was made for another model")


def _adapters(part: Any) -> list[str]:
    """The names of a part's parameters that belong to an adapter."""
    names = (name for name, _ in part.named_parameters()) if hasattr(part, "named_parameters") else ()
    return [name for name in names if any(kind in name for kind in ADAPTER)]
