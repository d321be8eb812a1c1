"""Every Python block on a page runs."""

import sys
import types
from itertools import groupby
from pathlib import Path

import pytest

from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud
from poolmgr.drivers.nova import NovaCloud
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import LoopbackCloud
from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.stage import write_clouds

PYTHON = {
    page: list(shown)
    for page, shown in groupby(blocks("python"), lambda block: block.page)
}


def run(block: Block, module: types.ModuleType) -> None:
    """Run a block so that tracebacks name its page and line."""
    text = "\n" * (block.line - 1) + block.text
    exec(compile(text, str(block.page), "exec"), module.__dict__)  # noqa: S102


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_python_blocks_run_from_top_to_bottom(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Blocks use the names that earlier blocks define."""
    module = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    clouds = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    with LoopbackCloud() as cloud:
        write_clouds(cloud, clouds)
        try:
            for block in PYTHON[page]:
                run(block, module)
            for driver in list(vars(module).values()):
                if isinstance(driver, NovaCloud):
                    assert driver.list_devices(20.0) == []
        finally:
            if connection := getattr(module, "connection", None):
                connection.close()
        assert cloud.servers == []


def test_the_readme_action_runs(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = ROOT / "README.rst"
    module = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    for block in PYTHON[readme]:
        run(block, module)
    actions = {"HELLO": module.Hello}

    with PoolManager(cloud, PoolSettings(), actions) as manager:
        answer = manager.run({"action": "HELLO", "whom": "Ada"})

    assert answer == {
        "action": "HELLO",
        "whom": "Ada",
        "greeting": "Hello Ada",
        "response": "PASS",
    }
    assert '{"action": "HELLO", "whom": "Ada"}' in readme.read_text()
