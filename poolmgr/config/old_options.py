"""Options of Libra's Pool Manager that poolmgr has no use for, and why."""

from poolmgr.config.files import Entry

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

#: Options that every part of Libra had; poolmgr's are the command line's.
_ELSEWHERE = {
    "debug verbose": (
        "how much is logged is [worker] log_level, or -v, -q and --debug"
    ),
    "log_config log_config_append": (
        "name that file on the command line: --log-config-append"
    ),
    "logfile logstash log_dir log_format log_file use_syslog syslog "
    "syslog-socket syslog-facility syslog_socket syslog_faculty "
    "syslog_facility": (
        "the log goes to standard error, and into the file of --log-file"
    ),
    "daemon nodaemon pid user group": (
        "the worker stays in the foreground; what starts it sees to this"
    ),
}


def reason(entry: Entry) -> str | None:
    """Why an option of Libra has no effect; None if it is none of those."""
    if entry.group not in ("DEFAULT", "global", "mgm", "gearman"):
        return None
    group = "mgm" if entry.group == "global" else entry.group
    if why := OBSOLETE.get(f"{group}.{entry.name}"):
        return why
    for names, why in _ELSEWHERE.items():
        if entry.name in names.split():
            return why
    return None
