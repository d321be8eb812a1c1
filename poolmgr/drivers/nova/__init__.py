"""OpenStack, by its SDK: servers of Nova, floating IPs of Neutron.

The SDK takes a quarter of a second to import, and the settings are read
without it: so it is imported with the first name that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolmgr.drivers.nova.driver import NovaCloud
    from poolmgr.drivers.nova.sdk import connection_of
    from poolmgr.drivers.nova.settings import NovaSettings

__all__ = ["NovaCloud", "NovaSettings", "connection_of"]

_MODULES = {
    "NovaCloud": "driver",
    "NovaSettings": "settings",
    "connection_of": "sdk",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
