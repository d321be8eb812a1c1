"""A worker that leaves builds to others for longer than usual.

By default it waits for a twentieth of a second. On a busy machine another
worker may need longer to take a build.
"""

from pathlib import Path

from tests.environments import plugin_beside, visible

_PLUGIN = """
    from poolmgr.actions.build_ip import BuildIp
    from poolmgr.worker import service

    service.PEER_DELAY = 1.0

    class Other(BuildIp):
        \"\"\"Make this a plugin, which the worker loads.\"\"\"
"""


def long_peer_delay(folder: Path) -> dict[str, str]:
    """Return the environment of a worker that waits for a second."""
    package = plugin_beside(
        folder, _PLUGIN, poolmgr__actions="OTHER = stranger:Other"
    )
    return {**visible(package), "XDG_CACHE_HOME": str(folder / "cache")}
