"""What is looked at before a worker starts, by ``check`` as well.

One function for both: ``check`` passes when a worker would start.
"""

from contextlib import suppress

from poolmgr.config.job_servers import connection_options
from poolmgr.config.options import Configuration
from poolmgr.config.remarks import log_remarks
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.jobs.manager import action_plugins
from poolmgr.plugins import Registry
from poolmgr.worker.service import load_actions


def require_usable(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Go on only with values that can be used, and plugins that fit together;
    log what has no effect.

    :raises ConfigError: in one line, which value is wrong
    :raises PluginError: the driver cannot be loaded, or two actions share a
        name
    """
    with suppress(ConfigError):  # it is told below, with all others
        log_remarks(conf, drivers)
    conf.require_values(drivers)
    connection_options(conf.gearman())
    load_actions(action_plugins())
