"""Every YAML file on a page is accepted by its reader."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from openstack.config import OpenStackConfig

from tests.docs.blocks import Block, blocks, of
from tests.monitoring.promtool import promtool


def clouds(text: str, path: Path) -> None:
    """Check that the SDK finds each cloud with its credentials."""
    path.write_text(text)
    config = OpenStackConfig([str(path)], load_envvars=False)
    for name in yaml.safe_load(text)["clouds"]:
        cloud = config.get_one(name)
        auth = cloud.get_auth_args()
        assert auth["auth_url"].endswith("/v3")
        assert {"password", "project_name"} <= auth.keys()
        assert cloud.get_auth() is not None


def prometheus(text: str, path: Path) -> None:
    path.write_text(text)
    promtool("check", "config", str(path))


def alerts(text: str, path: Path) -> None:
    path.write_text(text)
    promtool("check", "rules", str(path))


#: The reader of a file, by a key in it.
READERS: Mapping[str, Callable[[str, Path], None]] = {
    "clouds": clouds,
    "scrape_configs": prometheus,
    "groups": alerts,
}


@of(blocks("yaml"))
def test_yaml_files_are_accepted_by_their_readers(
    block: Block, tmp_path: Path
) -> None:
    keys = yaml.safe_load(block.text).keys()
    readers = [READERS[key] for key in keys if key in READERS]

    if not readers:
        pytest.fail(f"{block.where}: whose file is that?")
    readers[0](block.text, tmp_path / "shown.yml")


def test_some_are_found() -> None:
    assert len(blocks("yaml")) >= 2
