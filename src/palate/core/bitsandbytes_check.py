"""Whether bitsandbytes, which is optional, is installed and works on a device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

from palate.core.errors import ConfigError

EXTRA = "low-memory"


def require_bitsandbytes(option: str, device: str, trial: Callable[[], object]) -> None:
    """Raises ConfigError unless bitsandbytes can do what an option asks for.

    Args:
        option: the option as the user gives it, such as `--quantize 4bit`.
        device: the device, for the message.
        trial: does it once, on few numbers.
    """
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"{option} needs bitsandbytes, which is not installed; pip install 'palate[{EXTRA}]'")
    quiet_bitsandbytes()
    try:
        trial()
    except Exception as error:  # a library without its CUDA part fails in ways of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{option} does not work on the device {device}: {reason}; leave it out") from error


def quiet_bitsandbytes() -> None:
    """Turns off its notes, such as that a faster kernel could be downloaded; peft imports it wherever it is there."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
