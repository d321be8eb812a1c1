"""A plugin that blocks the worker's event loop."""

import pytest

from tests import environments

BLOCKING_PLUGIN = """
    import time
    from poolmgr.actions.base import Action, NoFields

    class Block(Action):
        \"\"\"Block the event loop.\"\"\"

        takes = NoFields

        async def run(self, request, context):
            time.sleep(3600)
"""


@pytest.fixture(scope="module")
def blocking_plugin(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Return an environment with a plugin that blocks the event loop."""
    folder = environments.install_beside(
        tmp_path_factory.mktemp("blocking"),
        "poolmgr-blocking",
        BLOCKING_PLUGIN,
        poolmgr__actions="BLOCK = poolmgr_blocking:Block",
    )
    return environments.visible(folder)
