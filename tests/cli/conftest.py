"""Fixtures of the command line's tests."""

from pathlib import Path

import pytest


@pytest.fixture
def cloud(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a fake cloud that is kept in a file."""
    return {
        "OS_POOLMGR__DRIVER": "fake",
        "OS_FAKE__STATE": str(tmp_path / "cloud.db"),
    }
