"""What is looked at before a worker starts, by ``check`` as well.

One function for both: ``check`` passes when a worker would start.
"""

import logging
from contextlib import suppress

from poolmgr.config.job_servers import connection_options
from poolmgr.config.options import Configuration
from poolmgr.config.unknown import (
    options_of_others,
    unknown_options,
    warn_of_old_names,
)
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.jobs.manager import action_plugins
from poolmgr.plugins import Registry
from poolmgr.worker.service import load_actions

LOG = logging.getLogger(__name__)


def warn(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Log what has no effect, though somebody may think so, and secrets that
    everybody can read.

    :raises ConfigError: a value that this needs cannot be used
    :raises PluginError: the driver that is configured cannot be loaded
    """
    warn_of_old_names(conf, drivers)
    warn_of_unknown(conf, drivers)
    if others := options_of_others(conf, drivers):
        LOG.info("not read, as other programs': %s", ", ".join(others))
    conf.warn_of_exposed_secrets(drivers)


def warn_of_unknown(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Log options that somebody wrote and nobody reads.

    :raises ConfigError: there is no driver of the name that is configured
    :raises PluginError: it cannot be loaded
    """
    for problem in unknown_options(conf, drivers):
        LOG.warning("%s", problem)


def require_usable(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Go on only with values that can be used, and plugins that fit together;
    log what has no effect.

    :raises ConfigError: in one line, which value is wrong
    :raises PluginError: the driver cannot be loaded, or two actions share a
        name
    """
    with suppress(ConfigError):  # it is told below, with all others
        warn(conf, drivers)
    conf.require_values(drivers)
    connection_options(conf.gearman())
    load_actions(action_plugins())
