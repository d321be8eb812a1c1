"""Options of Libra's Pool Manager that poolmgr has no use for, and why."""

from poolmgr.config.files import Key

#: Why options have no effect.
_REASONS: dict[str, tuple[str, ...]] = {
    "whether an address was removed is read back from the cloud": (
        "rm_fip_ignore_500",
    ),
    "devices are not probed while they boot": ("build_diag_timeout",),
    "job servers are not polled": ("poll", "gearman_poll"),
    "BUILD_IP makes floating IPs of Neutron, whatever was set": (
        *("ip_driver", "ip_network_id"),
    ),
    "[nova] calls_per_second limits calls of the cloud": (
        "rate_limit_delete_device_period",
        "rate_limit_delete_device_max_count",
    ),
    "Libra's Admin API keeps the number of spare devices": (
        *("nodes", "api_server", "check_interval", "failed_interval"),
        *("submit_interval", "driver"),
    ),
    "nothing is kept on the disk": ("datadir",),
    # Options that every part of Libra had; poolmgr's are the command line's.
    "how much is logged is [worker] log_level, or -v, -q and --debug": (
        *("debug", "verbose"),
    ),
    "name that file on the command line: --log-config-append": (
        *("log_config", "log_config_append"),
    ),
    "the log goes to standard error, and into the file of --log-file": (
        *("logfile", "logstash", "log_dir", "log_format", "log_file"),
        *("use_syslog", "syslog", "syslog-socket", "syslog-facility"),
        *("syslog_socket", "syslog_faculty", "syslog_facility"),
    ),
    "the worker stays in the foreground; what starts it sees to this": (
        *("daemon", "nodaemon", "pid", "user", "group"),
    ),
}

#: The same by the names of the options.
OBSOLETE = {name: why for why, names in _REASONS.items() for name in names}


def reason(key: Key) -> str | None:
    """Why an option of Libra has no effect; None if it is none of those."""
    group, name = key
    if group not in ("default", "global", "mgm", "gearman"):
        return None
    return OBSOLETE.get(name)
