"""Every Python block on a page runs."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud
from poolmgr.drivers.nova import NovaCloud
from tests.docs.blocks import blocks, blocks_of
from tests.docs.stage import Stage

PAGES = {block.page: None for block in blocks("python")}


def run(page: Path, module: ModuleType) -> None:
    """Run a page's blocks; they use the names that earlier ones define."""
    for block in blocks_of(page, "python"):
        # Tracebacks name its page and line.
        text = "\n" * (block.line - 1) + block.text
        exec(compile(text, page, "exec"), vars(module))  # noqa: S102


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_from_top_to_bottom(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    with ExitStack() as stack:
        stage = Stage(tmp_path, stack)
        cloud = stage.cloud()
        for name, value in stage.variables.items():
            monkeypatch.setenv(name, value)
        try:
            run(page, module)
            for driver in list(vars(module).values()):
                if isinstance(driver, NovaCloud):
                    assert driver.list_devices(20.0) == []
        finally:
            if connection := getattr(module, "connection", None):
                connection.close()
        assert cloud.servers == []
    if page.name == "README.rst":
        check_hello(module, page.read_text())


def check_hello(module: ModuleType, page: str) -> None:
    """Check that the action on the page runs."""
    cloud, message = FakeCloud(), '{"action": "HELLO", "whom": "Ada"}'
    with PoolManager(cloud, actions={"HELLO": module.Hello}) as manager:
        answer = manager.run(json.loads(message))
    cloud.close()

    assert answer["greeting"] == "Hello Ada"
    assert message in page
