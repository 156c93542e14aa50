"""A model in one safetensors file, as people pass it on: it is converted once, into the cache folder.

The file has the weights, and mostly nothing else. The configuration, the tokenizers and the parts that it lacks come
from a base: the one that `<name>.palate.json` or `palate.json` beside the file names, or the family's release on the
hub. From the hub only files of text are fetched, unless parts are absent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from palate.core.cache_folder import Entry, default_root, digest, require_space
from palate.core.errors import InputError
from palate.core.files import atomic_folder
from palate.core.json_files import write_json
from palate.models.complete import expected_tensors, some
from palate.models.layouts import V_PREDICTION, ZERO_SNR, Layout, find_layout
from palate.models.load import quiet_libraries
from palate.models.lora_file import CARD
from palate.models.original_names import CONVOLUTION, SWAPPED, TRANSPOSED, OriginalTensor
from palate.models.parts import has_weights, read_json
from palate.models.single_file_network import check_network, load_network
from palate.models.source import SCHEDULER, UNUSED, ModelSource, file_digest, resolve
from palate.models.tensor_files import StoredTensor, tensors_of_file, write_tensors

STAGE, PIPELINE, MADE_FROM = "models", "pipeline", "made-from.json"
VERSION = 1
"""Counts changes of what is written, so that nothing that another version wrote is used."""
TEXT_FILES = ("*.json", "*/*.json", "*.txt", "*/*.txt", "*/*.model")
"""What of a base is needed beside weights: configurations and tokenizers."""
VARIANTS = ["*.fp16.*", "*.fp16-*", "*.bf16.*", "*.non_ema.*"]
"""Copies of a release's weights that are not needed."""
WEIGHTS = (".safetensors", ".bin", ".index.json", ".msgpack", ".onnx", ".h5", ".ckpt")
DEFAULTS = ("steps", "guidance")
"""What of the base's `palate.json` holds for a file too."""

_in_use: dict[Path, Entry] = {}
"""The entries of the cache that this process reads, so that none is deleted meanwhile."""


def converted(file: Path) -> Path:
    """The diffusers folder of a single file, from the cache or converted now.

    Args:
        file: weights in an original layout, `layouts.LAYOUTS`.

    Raises:
        InputError: the file is damaged, lacks tensors, has tensors that would not be used, or is not a model of a
            known layout; or its base is not such a model or cannot be had. All before any weights are read.
        PalateError: the disk has too little space.
    """
    tensors = tensors_of_file(file)
    layout = find_layout(file, tensors)
    card = _card(file)
    base = _base(file, layout, card)
    defaults = {name: base.card[name] for name in DEFAULTS if name in base.card} | card
    defaults.pop("base", None)
    stat, rest = file.stat(), digest(VERSION, _base_digest(base), defaults)
    made_from = {"file": str(file), "size": stat.st_size, "changed": stat.st_mtime_ns, "rest": rest}
    folder = _remembered(made_from) or default_root() / STAGE / f"single-file-{digest(file_digest(file), rest)}"
    if not (folder / PIPELINE).is_dir():
        parts = _plan(file, tensors, layout, base)
        needed = sum(tensor.size for part in parts.values() for tensor in part.values()) or stat.st_size
        fix = "free some, or set PALATE_CACHE to a folder on another disk"
        require_space(folder, needed, f"the converted weights of {file}", fix)
        entry = _entry(folder, file, layout)
        with entry.writing():
            if not (folder / PIPELINE).is_dir():  # another process may have made it
                with atomic_folder(folder / PIPELINE) as partial:
                    _write(partial, parts, base.folder, tensors, defaults)
                    if not layout.parts:
                        _write_network(partial / base.network, file, base)
    _entry(folder, file, layout)
    write_json(folder / MADE_FROM, made_from)
    return folder / PIPELINE


def _remembered(made_from: Mapping[str, Any]) -> Path | None:
    """The entry of the cache that was made from this very file, so that its gigabytes are not read to name it."""
    for written in (default_root() / STAGE).glob(f"*/{MADE_FROM}"):
        if read_json(written) == made_from and (written.parent / PIPELINE).is_dir():
            return written.parent
    return None


def _entry(folder: Path, file: Path, layout: Layout) -> Entry:
    if folder not in _in_use:
        _in_use[folder] = Entry(folder, {"kind": "model", "model": str(file), "family": layout.title})
    return _in_use[folder]


def _card(file: Path) -> dict[str, Any]:
    """What the user wrote beside the file: its base, and sampling defaults as in any model's `palate.json`."""
    cards = (file.with_name(f"{file.stem}.{CARD}"), file.with_name(CARD))
    return next((read_json(card) for card in cards if card.is_file()), {})


def _base(file: Path, layout: Layout, card: Mapping[str, Any]) -> ModelSource:
    named = card.get("base")
    if named is None:
        return ModelSource(_release(file, layout, TEXT_FILES))
    path = Path(str(named)).expanduser()
    base = resolve(file.parent / path if (file.parent / path).is_dir() else str(named))
    where = f"the base of {file}, {named},"
    if base.loras or (isinstance(base.base, Path) and base.base.is_file()):
        raise InputError(f"{where} must be a pipeline's folder or a hub id; it only gives configuration and tokenizers")
    if isinstance(base.base, str):
        base = ModelSource(_release(file, layout, TEXT_FILES, base.base))
    if layout.pipeline not in (None, base.family):
        raise InputError(f"{where} is a {base.family}, and the file is one of {layout.title}; name one of its family")
    return base


def _release(file: Path, layout: Layout, patterns: Collection[str], hub_id: str | None = None) -> Path:
    """The folder of a base on the hub with some of its files, downloaded or found in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    hub_id = hub_id or layout.base
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns), ignore_patterns=VARIANTS))
    except (OSError, ValueError) as error:
        absent = isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled))
        reason = "" if absent else f" ({str(error).strip().splitlines()[0].rstrip('.')})"
        what = f"{file} is a file of {layout.title}; its configuration and tokenizers are those of {hub_id}"
        fix = (
            f"which is neither in the hub's cache nor within reach{reason}; name a folder of such a model that "
            f'diffusers wrote in {file.stem}.{CARD} beside the file: {{"base": "path/to/folder"}}'
        )
        raise InputError(f"{what}, {fix}") from error


def _base_digest(base: ModelSource) -> str:
    """Of a base's files of text; its weights are only linked to."""
    texts = sorted(file for pattern in TEXT_FILES for file in base.folder.glob(pattern))
    return digest(*((str(file.relative_to(base.folder)), file_digest(file)) for file in texts))


def _plan(
    file: Path, tensors: Mapping[str, StoredTensor], layout: Layout, base: ModelSource
) -> dict[str, dict[str, StoredTensor]]:
    """What to write for each part that is in the file: its tensors as diffusers names and shapes them."""
    found: dict[str, dict[str, StoredTensor]] = {}
    if not layout.parts:
        check_network(file, tensors, layout.title, base.folder, base.network)
        for part in filter(lambda part: has_weights(base.folder / part), base.encoders()):
            _require_part(file, layout, base, part)
    for part, stored in layout.parts.items():
        here = _below(stored.prefix, tensors)
        entry = base.index.get(part)
        if entry is None or entry[1] is None:
            raise InputError(f"the base of {file}, {base.base}, has no {part!r}; name a base of {layout.title}")
        if stored.prefix and not here:
            _require_part(file, layout, base, part)
            continue
        expected = expected_tensors(base.folder, part, *entry)
        config = base.config(part)
        original = {name: each for name, each in stored.names(expected, config).items() if not each.again}
        whose = f"{file}, a file of {layout.title},"
        if missing := original.keys() - here.keys():
            where = f"lacks {len(missing)} tensors of its {part!r}: {some({stored.prefix + name for name in missing})}"
            raise InputError(f"{whose} {where}; it is damaged or a model of another size than {base.base}")
        network = part == next(iter(layout.parts))
        if network and (unused := _unused(here, original, layout, stored.prefix)):
            what = f"has {len(unused)} tensors that would not be used: {some(unused)}"
            raise InputError(f"{whose} {what}; it is a model of another kind, and is not read")
        found[part] = _diffusers_tensors(whose, here, original, expected)
    return found


def _below(prefix: str, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors whose names begin with a prefix, named without it."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def _unused(here: Mapping[str, StoredTensor], original: Collection[str], layout: Layout, prefix: str) -> set[str]:
    """The tensors of the network that have no place in it; without a prefix every tensor of the file is one."""
    others = tuple(stored.prefix for stored in layout.parts.values() if stored.prefix)
    return {prefix + name for name in here.keys() - set(original) if prefix or not name.startswith(others)}


def _require_part(file: Path, layout: Layout, base: ModelSource, part: str) -> None:
    """Makes sure that the base has the weights of a part that the file lacks; those of the hub are fetched."""
    if not any((base.folder / part).glob("*.safetensors")) and "snapshots" in base.folder.parts:
        owner, name = base.folder.parts[base.folder.parts.index("snapshots") - 1].split("--")[1:3]
        _release(file, layout, [f"{part}/*.safetensors", f"{part}/*.json"], f"{owner}/{name}")
    if not any((base.folder / part).glob("*.safetensors")):
        raise InputError(f"{file}, a file of {layout.title}, has no {part!r}, and neither has its base {base.base}")


def _diffusers_tensors(
    whose: str,
    here: Mapping[str, StoredTensor],
    original: Mapping[str, OriginalTensor],
    expected: Mapping[str, tuple[int, ...]],
) -> dict[str, StoredTensor]:
    """The tensors of one part; raises InputError where one has not the shape that the configuration gives it."""
    found: dict[str, StoredTensor] = {}
    for name, made in original.items():
        tensor, shapes = here[name], [expected[part] for part in made.parts]
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:]) if shapes[0] else ()
        if made.form == TRANSPOSED:
            tensor = tensor.transposed() if len(tensor.shape) == 2 else tensor
        elif made.form == CONVOLUTION and tensor.shape == (*whole, 1, 1):
            tensor = tensor.reshaped(*whole)
        if tensor.shape != whole:
            fix = "its base is a model of another size; name a fitting one"
            raise InputError(f"{whose} has {name} of the shape {tensor.shape} instead of {whole}; {fix}")
        if made.form == SWAPPED:
            tensor = tensor.halves_swapped()
        start = 0
        for part, shape in zip(made.parts, shapes):
            found[part] = tensor.rows(start, start + shape[0]) if len(shapes) > 1 else tensor
            start += shape[0] if shape else 0
    return found


def _write(
    folder: Path,
    parts: Mapping[str, Mapping[str, StoredTensor]],
    base: Path,
    tensors: Collection[str],
    defaults: Mapping[str, Any],
) -> None:
    """The pipeline's folder: weights from the file, links to the parts that it lacks, everything else copied."""
    index = read_json(base / "model_index.json")
    left_out = {part: [None, None] for part in UNUSED if part in index}
    if "requires_safety_checker" in index:
        left_out["requires_safety_checker"] = False  # type: ignore[assignment]
    index |= left_out
    write_json(folder / "model_index.json", index)
    for part, entry in index.items():
        if not isinstance(entry, list) or entry[1] is None:
            continue
        (folder / part).mkdir()
        for file in sorted(file for file in (base / part).glob("*") if file.is_file()):
            if not file.name.endswith(WEIGHTS):
                shutil.copyfile(file, folder / part / file.name)
            elif part not in parts:
                _link(folder / part / file.name, file.resolve())
        if part in parts:
            name = "diffusion_pytorch_model" if entry[0] == "diffusers" else "model"
            write_tensors(folder / part / f"{name}.safetensors", parts[part], {"format": "pt"})
    _say_prediction(folder / SCHEDULER / "scheduler_config.json", tensors)
    if defaults:
        write_json(folder / CARD, defaults)


def _link(link: Path, file: Path) -> None:
    """A link to a file, or a copy where links are not permitted, as on Windows."""
    try:
        link.symlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, link)


def _write_network(folder: Path, file: Path, base: ModelSource) -> None:
    """The network that diffusers' own loader reads, in the place of the base's."""
    network = load_network(file, base.folder, base.network)
    shutil.rmtree(folder)
    with quiet_libraries():
        network.save_pretrained(folder)


def _say_prediction(scheduler: Path, tensors: Collection[str]) -> None:
    """Writes into the scheduler's configuration what the file says of its own training."""
    found = read_json(scheduler)
    if V_PREDICTION in tensors:
        found["prediction_type"] = "v_prediction"
    if ZERO_SNR in tensors:
        found |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
