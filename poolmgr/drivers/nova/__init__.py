"""OpenStack: servers of Nova, floating IPs of Neutron.

The SDK takes a quarter of a second to import, so it is imported with the first
name that needs it. The settings do not.
"""

from typing import TYPE_CHECKING, Any

from poolmgr.drivers.nova.settings import NovaSettings

if TYPE_CHECKING:
    from poolmgr.drivers.nova.driver import NovaCloud, connection_of

__all__ = ["NovaCloud", "NovaSettings", "connection_of"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from poolmgr.drivers.nova import driver

    return getattr(driver, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
