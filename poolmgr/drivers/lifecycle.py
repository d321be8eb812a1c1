"""Drivers as plugins: checked, made, and closed."""

import dataclasses
import logging
import threading
from typing import get_type_hints

from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import name_of
from poolmgr.errors import PluginFailed, PoolmgrError
from poolmgr.plugins import DRIVERS, Registry, is_interrupt
from poolmgr.text import told

LOG = logging.getLogger(__name__)


def driver_plugins() -> Registry[Driver]:
    """The drivers that are installed."""
    return Registry("driver", DRIVERS, Driver, defect)  # type: ignore[type-abstract]


def make_driver(cls: type[Driver], settings: object = None) -> Driver:
    """Make a driver from its settings.

    :param settings: None for its defaults
    :raises PoolmgrError: raised by the driver
    :raises PluginFailed: it raised what it may not
    """
    try:
        return cls(cls.Settings() if settings is None else settings)
    except PoolmgrError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise PluginFailed(
            f"driver {cls.__name__} cannot be made: {told(error)}"
        ) from error


def close_driver(driver: Driver, timeout: float = 5.0) -> None:
    """Close a driver; one that hangs is left, one that fails is logged.

    :param timeout: seconds that it may take
    """
    closing = threading.Thread(
        target=_close, args=(driver,), name="poolmgr-closing", daemon=True
    )
    closing.start()
    closing.join(timeout)
    if closing.is_alive():
        LOG.error(
            "%s: close has not returned within %g s; continuing",
            name_of(driver),
            timeout,
        )


def _close(driver: Driver) -> None:
    try:
        driver.close()
    except BaseException as error:
        LOG.error("%s: close: %s", name_of(driver), told(error))


def defect(driver: type[Driver]) -> str | None:
    """Return what is wrong with a driver's class, None if nothing is."""
    try:
        settings = getattr(driver, "Settings", None)
    except BaseException as error:
        return f"'Settings' raises {told(error)}"
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        return "'Settings' must be a dataclass"
    try:
        get_type_hints(settings)
    except BaseException as error:
        return f"'Settings' has unknown types: {told(error)}"
    for each in dataclasses.fields(settings):
        if "help" not in each.metadata:
            return f"the setting {each.name!r} must be made by setting()"
    return None
