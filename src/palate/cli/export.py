"""`palate export`: an aligned model in the format of other programs."""

from __future__ import annotations

from collections.abc import Sequence

from palate.core.config import parse
from palate.models.export_config import ModelExportConfig

DESCRIPTION = (
    "Writes an aligned model for other programs: a LoRA file for diffusers or with kohya's names, or the base model "
    "with all its LoRAs as a pipeline or as one file; with a model card, and on the hub where you ask for it."
)


def run(argv: Sequence[str]) -> int:
    """Runs `palate export` on its arguments."""
    config = parse(ModelExportConfig, argv, prog="palate export", description=DESCRIPTION)

    from palate.models.model_export import export_model

    print(export_model(config))
    return 0
