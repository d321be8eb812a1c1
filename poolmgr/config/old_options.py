"""Options of Libra's Pool Manager that poolmgr has no use for, and why."""

import logging
from collections.abc import Iterable

from poolmgr.config.files import Entry, all_names
from poolmgr.config.options import Configuration
from poolmgr.drivers.base import Driver
from poolmgr.plugins import Registry
from poolmgr.settings import rules
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

_ADDRESSES = "BUILD_IP makes floating IPs of Neutron, whatever was set"
_POOL_SIZE = "Libra's Admin API keeps the number of spare devices"
_RATE = "[nova] calls_per_second limits calls of the cloud"

#: Options that have no effect, and why.
OBSOLETE = {
    "mgm.rm_fip_ignore_500": (
        "whether an address was removed is read back from the cloud"
    ),
    "mgm.build_diag_timeout": "devices are not probed while they boot",
    "gearman.poll": "job servers are not polled",
    "mgm.gearman_poll": "job servers are not polled",
    "mgm.ip_driver": _ADDRESSES,
    "mgm.ip_network_id": _ADDRESSES,
    "mgm.rate_limit_delete_device_period": _RATE,
    "mgm.rate_limit_delete_device_max_count": _RATE,
    "mgm.nodes": _POOL_SIZE,
    "mgm.api_server": _POOL_SIZE,
    "mgm.check_interval": _POOL_SIZE,
    "mgm.failed_interval": _POOL_SIZE,
    "mgm.submit_interval": _POOL_SIZE,
    "mgm.driver": _POOL_SIZE,
    "mgm.datadir": "nothing is kept on the disk",
}

_LOG = "how much is logged is [worker] log_level, or -v, -q and --debug"
_LOG_FILE = "the log goes to standard error, and into the file of --log-file"
_PROCESS = "the worker stays in the foreground; what starts it sees to this"

#: Options that every part of Libra had; poolmgr's are the command line's.
ELSEWHERE = {
    "debug": _LOG,
    "verbose": _LOG,
    "logfile": _LOG_FILE,
    "logstash": _LOG_FILE,
    "log_config": _LOG_FILE,
    "log_config_append": _LOG_FILE,
    "log_dir": _LOG_FILE,
    "log_format": _LOG_FILE,
    "log_file": _LOG_FILE,
    "use_syslog": _LOG_FILE,
    "syslog": _LOG_FILE,
    "syslog-socket": _LOG_FILE,
    "syslog-facility": _LOG_FILE,
    "syslog_socket": _LOG_FILE,
    "syslog_faculty": _LOG_FILE,
    "syslog_facility": _LOG_FILE,
    "daemon": _PROCESS,
    "nodaemon": _PROCESS,
    "pid": _PROCESS,
    "user": _PROCESS,
    "group": _PROCESS,
}

#: The groups of the Pool Manager in Libra's files.
_OLD_GROUPS = ("DEFAULT", "global", "mgm", "gearman")


def reason(entry: Entry) -> str | None:
    """Why an option of Libra has no effect; None if it is none of those."""
    if entry.group not in _OLD_GROUPS:
        return None
    group = "mgm" if entry.group == "global" else entry.group
    return OBSOLETE.get(f"{group}.{entry.name}") or ELSEWHERE.get(entry.name)


def warn_of_old_names(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Log every old option in the files, once: its new name, or why it has
    no effect.

    :raises PluginError: the driver that is configured cannot be loaded
    """
    driver = conf.driver_name().lower()
    unused = []
    for group, settings in conf.groups(drivers):
        for field, rule in rules(settings):
            names = all_names(group, field.name, rule)
            old = [e for e in conf.written.entries() if _is_in(e, names[1:])]
            if old and group == "nova" and driver != "nova":
                unused += [entry.shown for entry in old]
                continue
            _tell_of(old, conf.written.find(*names), f"[{group}] {field.name}")
    for entry in conf.written.entries():
        if (why := reason(entry)) is not None:
            LOG.warning(
                "%s has no meaning any more and is ignored: %s",
                entry.shown,
                why,
            )
    if unused:
        LOG.warning(
            "not used by the driver %r: %s",
            one_line(driver),
            ", ".join(dict.fromkeys(unused)),
        )


def _is_in(entry: Entry, names: Iterable[tuple[str, str]]) -> bool:
    return (entry.group, entry.name) in names


def _tell_of(old: Iterable[Entry], counts: Entry | None, new: str) -> None:
    for entry in old:
        where = f"{entry.shown} in {one_line(entry.path)}"
        if entry == counts:
            LOG.info("%s is read; it is called %s today", where, new)
        else:
            LOG.warning(
                "%s has no effect: %s counts", where, counts and counts.shown
            )
