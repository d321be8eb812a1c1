"""A fake cloud with orphans."""

from contextlib import closing
from pathlib import Path

import pytest

from poolmgr.drivers.fake import FakeCloud, FakeSettings
from tests.reaping import OLD_MARK, TIMEOUT, make_older


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the file of a cloud with two old orphans and an owned device."""
    path = tmp_path / "cloud.db"
    with closing(FakeCloud(FakeSettings(state=str(path)))) as cloud:
        cloud.create_device("libra-left", OLD_MARK, TIMEOUT)
        cloud.create_device("libra-own", OLD_MARK.handed_over(), TIMEOUT)
        cloud.create_ip(OLD_MARK, TIMEOUT)
    make_older(path)
    return path
