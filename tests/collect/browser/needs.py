"""Importing this skips a test module where there is no selenium; `conftest.driver` skips where there is no Chromium."""

from __future__ import annotations

import pytest

SELENIUM = pytest.importorskip("selenium", reason="the tests in a browser need selenium; pip install selenium")
