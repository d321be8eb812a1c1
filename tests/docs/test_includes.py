"""Files that the pages include are run by tests."""

import pytest

from tests.docs.blocks import INCLUDE, ROOT, Block, blocks, of

EXAMPLE = "examples/poolmgr-rack"

#: Sphinx warns when the included part is missing.
#: The examples' tests are run by tests/plugins/test_plugins.py.
RUN = tuple(ROOT / each for each in ("tests", "poolmgr", EXAMPLE))


@of(blocks(INCLUDE))
def test_included_files_are_run_by_tests(block: Block) -> None:
    path = (block.page.parent / block.text.strip()).resolve()

    assert path.is_file()
    if not any(path.is_relative_to(folder) for folder in RUN):
        pytest.fail(f"{block.where}: no test runs {block.text}")
    if path.is_relative_to(ROOT / "tests"):
        assert path.name.startswith("test_")
