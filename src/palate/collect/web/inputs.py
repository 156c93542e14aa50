"""The valid inputs of requests: names in addresses, and bodies with known fields only."""

from __future__ import annotations

from fastapi import Path
from pydantic import BaseModel, ConfigDict

TOKEN = Path(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]+$")
HANDLE = Path(min_length=22, max_length=22, pattern=r"^[A-Za-z0-9_-]+$")
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


class In(BaseModel):
    """The body of a request; an unknown field, a value of another type, or a number that is not finite is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
