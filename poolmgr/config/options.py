"""Options: their groups, old names, and conversion from and to text.

Options are derived from the settings classes, which declare their defaults,
bounds and help texts.
"""

import re
from collections.abc import Iterable
from configparser import RawConfigParser
from typing import TYPE_CHECKING, Any

from poolmgr import settings
from poolmgr.config.sources import COMMENT, Key
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.settings import IsSettings, Option, options_of
from poolmgr.settings.gearman import GearmanSettings

if TYPE_CHECKING:  # needed for the sample file and the documentation only
    from oslo_config import cfg

Group = tuple[str, type[IsSettings]]

#: The groups that exist with any driver, and their settings classes.
GROUPS: tuple[Group, ...] = (
    ("poolmgr", settings.DriverSettings),
    ("poolmgr", settings.PoolSettings),
    ("worker", settings.WorkerSettings),
    ("reaper", settings.ReaperSettings),
    ("monitoring", settings.MonitoringSettings),
    ("gearman", GearmanSettings),
    ("nova", NovaSettings),
)

#: The names of options in Libra's group [mgm].
OLD_NAMES: dict[Key, str] = {
    ("poolmgr", "az"): "az",
    ("poolmgr", "basename"): "node_basename",
    ("poolmgr", "check_port"): "tcp_check_port",
    ("worker", "long_jobs"): "threads",
    ("gearman", "servers"): "gearman",
    ("gearman", "ssl_ca"): "gearman_ssl_ca",
    ("gearman", "ssl_cert"): "gearman_ssl_cert",
    ("gearman", "ssl_key"): "gearman_ssl_key",
    ("gearman", "keepalive"): "gearman_keepalive",
    ("gearman", "keepcnt"): "gearman_keepcnt",
    ("gearman", "keepidle"): "gearman_keepidle",
    ("gearman", "keepintvl"): "gearman_keepintvl",
    ("nova", "auth_url"): "nova_auth_url",
    ("nova", "username"): "nova_user",
    ("nova", "password"): "nova_pass",
    ("nova", "project_name"): "nova_tenant",
    ("nova", "project_id"): "nova_tenant_id",
    ("nova", "region_name"): "nova_region",
    ("nova", "insecure"): "nova_insecure",
    ("nova", "compute_endpoint"): "nova_bypass_url",
    ("nova", "image"): "nova_image",
    ("nova", "flavor"): "nova_image_size",
    ("nova", "networks"): "nova_net_id",
    ("nova", "security_groups"): "nova_secgroup",
    ("nova", "key_name"): "nova_keyname",
    ("nova", "availability_zones"): "nova_az_name",
    ("nova", "call_timeout"): "nova_timeout",
}


def keys_of(option: Option) -> list[Key]:
    """Return the keys of an option, the current one first."""
    key = (option.group, option.name)
    if (old := OLD_NAMES.get(key)) is None:
        return [key]
    # Libra's first releases also accepted the options of [mgm] in [global].
    return [key, ("mgm", old), ("global", old)]


def options_in(groups: Iterable[Group]) -> list[Option]:
    """Return the options of groups."""
    return [option for group in groups for option in options_of(*group)]


def options_by_key(groups: Iterable[Group]) -> dict[Key, Option]:
    """Return the options of groups by each of their keys."""
    found = options_in(groups)
    return {key: option for option in found for key in keys_of(option)}


# -- conversion -------------------------------------------------------------

# Not the line feed, which separates the lines of a value. Surrogates stand for
# bytes that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def parse_value(text: str, option: Option) -> Any:
    """Convert an option's text to its value.

    :raises ValueError: the text is invalid; the message shows it unless the
        option is a secret
    """
    if _CONTROL.search(text):
        raise ValueError("has a control character in it, or is not UTF-8")
    value: Any = text.strip()
    if option.kind is tuple:
        value = _split(text, option)
    elif value and "\n" in text:
        raise ValueError(
            "continues on the next line; unindent the next option"
        )
    if not value:
        if option.default not in (None, "", ()):
            raise ValueError("is empty; give it a value, or remove it")
        return option.default
    if option.kind is str:
        value = text  # with the blanks that quotes have kept
    elif option.kind is not tuple:
        value = _convert(value, option.kind)
    if problem := option.problem(value):
        raise ValueError(problem)
    return value


def _split(text: str, option: Option) -> tuple[str, ...]:
    # Names of networks, for instance, may have blanks in them.
    items = re.split(r"[,\s]" if option.words else r"[,\n]", text)
    value = tuple(filter(None, map(str.strip, items)))
    if any(item[0] in "'\"" or item[-1] in "'\"" for item in value):
        raise ValueError(f"must be a list without quotes, not {text!r}")
    return value


def _convert(text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return RawConfigParser.BOOLEAN_STATES[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        names = {bool: "true or false", int: "a whole number"}
        name = names.get(kind, "a number")
        raise ValueError(f"must be {name}, not {text!r}") from None


def format_value(value: object) -> str:
    """Return a value as it is written in a configuration file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    text = text.replace("$", "$$")
    # The parser removes quotes and outer blanks, and refuses comments.
    is_quoted = text[:1] == text[-1:] and text[:1] in ("'", '"')
    if text and (is_quoted or text != text.strip() or COMMENT.search(text)):
        return f'"{text}"'
    return text


# -- for oslo.config's own tools --------------------------------------------


def list_opts() -> "list[tuple[str, list[cfg.Opt]]]":
    """Return all options by group, for oslo.config's tools."""
    from poolmgr.drivers.fake import FakeSettings

    found: dict[str, list[cfg.Opt]] = {}
    groups: list[Group] = [*GROUPS, ("fake", FakeSettings)]
    for option in options_in(groups):
        found.setdefault(option.group, []).append(_option(option))
    return list(found.items())


def _option(option: Option) -> "cfg.Opt":
    from oslo_config import cfg, types

    kinds = {
        bool: types.Boolean(),
        int: types.Number(int, "integer value", option.min, option.max),
        float: types.Float(option.min, option.max),
        str: types.String(choices=option.choices or None),
        tuple: types.List(),
    }
    default = option.default
    return cfg.Opt(
        option.name,
        type=kinds[option.kind],
        default=[*default] if isinstance(default, tuple) else default,
        help=option.help,
        secret=option.secret,
        mutable=option.mutable,
        deprecated_opts=[
            cfg.DeprecatedOpt(name, group=group)
            for group, name in keys_of(option)[1:2]
        ],
    )
