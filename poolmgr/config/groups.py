"""The groups of options, and the options for oslo.config's own tools.

They are made from the settings classes, so that there is one place for a
default, a bound and a help text.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from poolmgr.config.files import Key
from poolmgr.config.gearman_settings import GearmanSettings
from poolmgr.config.values import Option, options_of
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.settings import (
    DriverSettings,
    MonitoringSettings,
    PoolSettings,
    ReaperSettings,
    WorkerSettings,
)
from poolmgr.settings.rules import IsSettings

if TYPE_CHECKING:  # only who makes the sample or the documentation loads it
    from oslo_config import cfg

Group = tuple[str, type[IsSettings]]

#: The groups that there are whatever the driver.
GROUPS: tuple[Group, ...] = (
    ("poolmgr", DriverSettings),
    ("poolmgr", PoolSettings),
    ("worker", WorkerSettings),
    ("reaper", ReaperSettings),
    ("monitoring", MonitoringSettings),
    ("gearman", GearmanSettings),
    ("nova", NovaSettings),
)


def by_name(groups: Iterable[Group]) -> dict[Key, Option]:
    """The options of groups by each of their names."""
    return {
        name: option
        for group in groups
        for option in options_of(*group)
        for name in option.names
    }


def list_opts() -> "list[tuple[str, list[cfg.Opt]]]":
    """All options, by group, for oslo-config-generator and -validator."""
    from poolmgr.drivers.fake import FakeSettings

    found: dict[str, list[cfg.Opt]] = {}
    groups: list[Group] = [*GROUPS, ("fake", FakeSettings)]
    for group, settings in groups:
        options = options_of(group, settings)
        found.setdefault(group, []).extend(map(_option, options))
    return list(found.items())


def _option(option: Option) -> "cfg.Opt":
    from oslo_config import cfg

    rule, default = option.rule, option.default
    kinds = {bool: cfg.BoolOpt, int: cfg.IntOpt, float: cfg.FloatOpt}
    kinds |= {str: cfg.StrOpt}
    bounds = {"min": rule.min, "max": rule.max, "choices": rule.choices}
    made: cfg.Opt = kinds.get(option.kind, cfg.ListOpt)(
        option.name,
        default=list(default) if isinstance(default, tuple) else default,
        help=rule.help,
        secret=rule.secret,
        mutable=rule.mutable,
        deprecated_opts=[
            cfg.DeprecatedOpt(name, group=group)
            for group, name in (old.split(".") for old in rule.old)
        ],
        **{k: v for k, v in bounds.items() if v not in (None, ())},
    )
    return made
