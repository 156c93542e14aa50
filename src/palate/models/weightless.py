"""A model without its weights: the real classes, made from configurations alone, with tensors that take no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from palate.core.errors import InputError
from palate.models.families import adapter_of
from palate.models.parts import has_weights
from palate.models.quiet import quiet_libraries
from palate.models.source import UNUSED, ModelSource

if TYPE_CHECKING:
    from palate.models.denoiser import Denoiser

CONFIGURATIONS = ("*.json", "*.txt", "*.model", "*.jinja")
"""The files of a hub's repository that say what a model is: configurations, and tokenizers with their vocabularies."""

Made = dict[int, tuple[nn.Parameter, nn.Parameter]]
"""Old and new parameters by the old one's id, which is kept alive: modules that share a parameter share the new one."""


def configuration_source(source: ModelSource) -> ModelSource:
    """The base model with its configurations on disk: of a hub id no weights are downloaded.

    LoRAs are left out, because they are fused into the weights and change no size.

    Raises:
        InputError: the hub has no such model, or cannot be reached.
    """
    if isinstance(source.base, Path):
        return ModelSource(source.base)
    from huggingface_hub import snapshot_download

    try:
        return ModelSource(Path(snapshot_download(source.base, allow_patterns=list(CONFIGURATIONS))))
    except (OSError, ValueError) as error:
        fix = "check the spelling, the network and, for a gated model, `hf auth login`"
        raise InputError(f"the configuration of {source.base!r} cannot be downloaded ({error}); {fix}") from error


def weightless_denoiser(source: ModelSource) -> Denoiser:
    """The model as a `Denoiser` whose networks have float32 parameters without memory, in eval mode.

    Call it inside a `FakeTensorMode` and `weightless`. Tokenizers and schedulers are read as usual.

    Args:
        source: with its configurations on disk.

    Raises:
        InputError: Palate cannot train the model's family, or a configuration cannot be read.
    """
    from diffusers import DiffusionPipeline

    adapter: Any = adapter_of(source)
    kinds = source.parts()
    networks = [name for name in kinds if kinds[name] and name not in UNUSED and has_weights(source.folder / name)]
    absent: dict[str, Any] = {name: None for name, kind in kinds.items() if kind is None or name in UNUSED}
    with quiet_libraries():
        try:
            made = {name: _weightless_part(source, name).eval() for name in networks}
            pipeline = DiffusionPipeline.from_pretrained(source.folder, **absent, **made)
        except (ImportError, OSError, ValueError) as error:
            raise InputError(f"the configurations in {source.folder} cannot be used: {error}") from error
    return adapter(pipeline)


def _weightless_part(source: ModelSource, name: str) -> nn.Module:
    import diffusers

    library, kind = source.index[name]
    own: Any = getattr(diffusers.pipelines, library, None)  # a pipeline's own class, such as Kolors' text encoder
    cls: Any = getattr(own or import_module(library), kind)
    if hasattr(cls, "from_config"):
        return cls.from_config(source.config(name))
    return cls(cls.config_class.from_pretrained(source.folder / name))


def narrow_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Gives the parameters another dtype, except for those that diffusers keeps in float32, as loading does."""
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    made: Made = {}
    for prefix, module in network.named_modules():
        for name, value in module._parameters.items():
            if value is not None and value.is_floating_point() and not kept & {*prefix.split("."), name}:
                module._parameters[name] = _changed(value, lambda old: torch.empty_like(old, dtype=dtype), made)


@contextmanager
def weightless() -> Iterator[None]:
    """Within it, modules whose tensors have no memory can be moved and cast.

    `nn.Module.to` exchanges such tensors in place, which torch refuses if anything has a weak reference to one. Here
    they are replaced.
    """
    before = nn.Module._apply
    nn.Module._apply = _replaced  # type: ignore[assignment]
    try:
        yield
    finally:
        nn.Module._apply = before


def _replaced(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` that replaces every tensor which `change` does not return as it is."""
    made: Made = {}
    for each in module.modules() if recurse else (module,):
        for name, value in each._parameters.items():
            if value is not None:
                each._parameters[name] = _changed(value, change, made)
        for name, buffer in each._buffers.items():
            if buffer is not None:
                each._buffers[name] = change(buffer)
    return module


def _changed(value: nn.Parameter, change: Callable[[Tensor], Tensor], made: Made) -> nn.Parameter:
    """The changed parameter; the same one for all modules that share it."""
    if id(value) not in made:
        with torch.no_grad():
            new = change(value)
        made[id(value)] = value, value if new is value else nn.Parameter(new, value.requires_grad)
    return made[id(value)][1]
