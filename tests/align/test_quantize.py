"""An adapter on a base in few bits: every family begins at its reference, and its LoRA is one for the base itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
from trained import lines, run
from twins import TWINS

pytest.importorskip("bitsandbytes")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),  # Kolors' text encoder
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # by diffusers' own Chroma
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning"),
]
QUICK = ("sd-eps", "flux-dev")


def tiny(twins: Any, name: str, **more: Any) -> dict[str, Any]:
    """The settings of a short run on a twin, with its smallest square images."""
    common = {"steps": 2, "batch": 2, "log_every": 1, "prompt_dropout": 0.5, "beta": 100.0}
    return {**common, "model": str(twins[name]), "resolution": TWINS[name].square, **more}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TWINS]
)
@pytest.mark.parametrize("bits, precision", [("8bit", "fp32"), ("4bit", "bf16")])
def test_dpo_on_a_quantised_base_begins_at_its_reference(dpo_config, twins, name, bits, precision):
    first, last = lines(run(dpo_config(**tiny(twins, name, quantize=bits, precision=precision))))
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6) and first["margin"] == 0
    assert any(last[f"error_{role}"] != last[f"error_ref_{role}"] for role in ("winner", "loser"))
