"""Credentials: which are used, what of them is secret, and where they are."""

import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from keystoneauth1.loading import get_plugin_loader
from keystoneauth1.session import Session
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.config.loader import CONFIG_FILES, SECURE_FILES

from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError
from poolmgr.text import one_line, secrecy

#: What goes before the same of any credentials: the SDK's name, and ours.
_OVERRIDES = {
    "region_name": "region_name",
    "interface": "interface",
    "cacert": "cafile",
    "cert": "certfile",
    "key": "keyfile",
    "compute_endpoint_override": "compute_endpoint",
    "network_endpoint_override": "network_endpoint",
}
#: What each way to log in needs.
_NEEDED = {
    "password": "password",
    "v3token": "token",
    "v3applicationcredential": "application_credential_secret",
}
# Of what keystoneauth's plugins take, what may be shown: ids, names, addresses
# and how to log in. All else is a secret.
_HARMLESS = re.compile(
    r".*[_-](id|name|url)|username|identity[_-]provider|protocol"
    r"|system[_-]scope"
)
_ADDRESS = re.compile(
    r"https?://([^\s/@?#:\[\]]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[^\s?#]*)?"
)
_NAMED = (
    "name the cloud by --os-cloud, OS_CLOUD or [nova] cloud, or give "
    "[nova] auth_url and the credentials"
)
_LOOKED_FOR = (
    "clouds.yaml is looked for in this folder, ~/.config/openstack and "
    "/etc/openstack, or is the file that OS_CLIENT_CONFIG_FILE names"
)
_SDK_MANUAL = "https://docs.openstack.org/openstacksdk/latest/user/config/"


class Origin:
    """Says where settings come from, so that a message can.

    :ivar settings: the group ``[nova]``
    :ivar is_given: whether the caller made the connection: then its settings
        are not ours to know
    :ivar cloud: the name of the cloud in clouds.yaml, None if there is none
    """

    def __init__(self, settings: NovaSettings, is_given: bool = False) -> None:
        self.settings = settings
        self.is_given = is_given
        self.cloud: str | None = None
        if not (is_given or settings.auth_url):
            self.cloud = settings.cloud or os.environ.get("OS_CLOUD")

    def __str__(self) -> str:
        """Where the credentials are set."""
        if self.is_given:
            return "the connection"
        if self.cloud:
            return f"clouds.yaml: clouds.{self.cloud}"
        return "[nova]" if self.settings.auth_url else "the variables OS_*"

    def of(self, name: str) -> str:
        """Where a setting is set, or would have to be.

        :param name: the SDK's name of it, as "cacert"
        """
        option = _OVERRIDES.get(name)
        is_set = option and getattr(self.settings, option)
        if str(self) == "[nova]" or (is_set and not self.is_given):
            return f"[nova] {option or name}"
        return f"{self}: {name}"

    def check_address(self, name: str, url: str) -> str:
        """An address without what is around it.

        :param name: the SDK's name of the setting
        :raises ConfigError: it is none; nor may it have a password in it, for
            libraries repeat addresses wherever they like
        """
        bare = url.strip().rstrip("/")
        if not is_address(bare) or bare.endswith("/tokens"):
            raise ConfigError(
                f"{self.of(name)} must be an address like "
                "https://cloud.example:5000/v3, without a user, a password "
                f"or a query, not {one_line(secrecy.masked(url))!r}"
            )
        return bare


def is_address(url: str) -> bool:
    """Whether a text is an address of HTTP, with no more than a path."""
    return _ADDRESS.fullmatch(url) is not None


def connect(origin: Origin) -> tuple[Session, CloudRegion]:
    """A session, which has asked for nothing yet, and the cloud's settings.

    :raises ConfigError: in one line, what is missing or wrong
    """
    wanted = _wanted(origin)
    try:
        region = _choose(wanted)
        session = region.get_session()
    except Exception as error:
        raise unusable(origin, error) from error
    _hide(region.get_auth_args())
    secrecy.show(region.name, region.get_region_name())
    return session, region


def unusable(origin: Origin, error: Exception) -> ConfigError:
    """The error of settings that the SDK does not take.

    keystoneauth tells what is missing by exceptions of no class, and over a
    wrong form the SDK trips in all ways.
    """
    said = one_line(secrecy.masked(str(error)))
    if "was not found" in said:
        return ConfigError(f"[nova]: {said} ({_LOOKED_FOR})")
    why = f"openstacksdk cannot use this: {said}; see {_SDK_MANUAL}"
    return ConfigError(f"{origin}: {why}")


def secret_files(origin: Origin) -> Iterator[tuple[str, str]]:
    """Each file that has a secret of ours, and the name of one in it."""
    if origin.settings.keyfile and not origin.is_given:
        yield origin.settings.keyfile, "[nova] keyfile"
    for path, auth in _credentials_in_files(origin):
        for name in sorted(_secrets_in(auth))[:1]:
            yield path, f"clouds.{origin.cloud}.auth.{name}"


# -- inside -------------------------------------------------------------------


def _wanted(origin: Origin) -> dict[str, Any]:
    """What to ask the SDK for: a cloud of clouds.yaml, or credentials.

    :raises ConfigError: nothing says which cloud, or something is missing
    """
    settings = origin.settings
    secrecy.show(origin.cloud, _NAMED, _LOOKED_FOR)
    found = {name: getattr(settings, o) for name, o in _OVERRIDES.items()}
    wanted = {name: value for name, value in found.items() if value}
    if settings.insecure:
        wanted["verify"] = False
    if origin.cloud:
        for _path, auth in _credentials_in_files(origin):
            _hide(auth)
        return {"cloud": origin.cloud, **wanted}
    if settings.auth_url:
        plugin, auth = _login(settings)
        return {"auth_type": plugin, "auth": auth, **wanted}
    if os.environ.get("OS_AUTH_URL"):
        return wanted
    raise ConfigError(f"[nova]: no cloud is configured; {_NAMED}")


class _Config(OpenStackConfig):
    """The SDK's configuration; before 4.5 it loses tokens."""

    def magic_fixes(self, config: dict[str, Any]) -> dict[str, Any]:
        """Mend what is written in an old form; with the token kept."""
        token = config.get("auth", {}).get("token")
        return super().magic_fixes(
            {**config, "token": token} if token else config
        )


def _choose(wanted: dict[str, Any]) -> CloudRegion:
    """A cloud of the configuration, with the settings of ``[nova]``."""
    config = _Config(
        load_yaml_config="cloud" in wanted,
        # With variables of poolmgr's own among them ("OS_NOVA__IMAGE"); the
        # SDK leaves alone what it does not know.
        load_envvars="auth" not in wanted,
        app_name="poolmgr",
        app_version=importlib.metadata.version("poolmgr"),
    )
    clouds = config.cloud_config["clouds"]
    entry = clouds.get(wanted.get("cloud", "envvars"))
    if "region_name" in wanted and entry and "regions" not in entry:
        # Where the cloud has one region, the SDK would take no other.
        entry["region_name"] = wanted["region_name"]
    return config.get_one(**wanted)


def _login(settings: NovaSettings) -> tuple[str, Mapping[str, str]]:
    """The plugin of ``[nova]``, and its credentials."""
    needed = _NEEDED[settings.auth_type]
    plugin = f"v3{settings.auth_type.removeprefix('v3')}"
    names = {option.dest for option in get_plugin_loader(plugin).get_options()}
    if plugin == "v3applicationcredential":
        # It has a project, and Keystone refuses to hear of one.
        names = {name for name in names if not name.startswith("project_")}
    found = {name: getattr(settings, name, None) for name in names}
    auth = {name: value for name, value in found.items() if value}
    _hide(auth)
    if needed not in auth:
        raise ConfigError(
            f"[nova] {needed} is missing (auth_type is {settings.auth_type})"
        )
    if needed == "password" and not ({"username", "user_id"} & {*auth}):
        raise ConfigError("[nova] username is missing")
    # Names are names in a domain; Libra's options know of none.
    for what, name in (("user", "username"), ("project", "project_name")):
        if name in auth and f"{what}_domain_name" not in auth:
            auth.setdefault(f"{what}_domain_id", "default")
    return plugin, auth


def _hide(auth: Mapping[str, Any]) -> None:
    """See to it that the secrets in credentials are never shown.

    What is no secret may be shown, even if a secret is the same.
    """
    secrets = _secrets_in(auth)
    secrecy.hide(*secrets.values())
    secrecy.show(*auth, *(auth[name] for name in auth.keys() - secrets))


def _secrets_in(auth: Mapping[str, Any]) -> dict[str, str]:
    """What of credentials is secret: all that is not known to be harmless.

    YAML takes 1234 for a number, which may be a password.
    """
    return {
        name: str(value)
        for name, value in auth.items()
        if not _HARMLESS.fullmatch(name) and value
    }


def _credentials_in_files(origin: Origin) -> Iterator[tuple[str, Any]]:
    """What each file that the SDK reads has of our cloud's ``auth``.

    :raises ConfigError: one is broken; the SDK would skip it
    """
    for variable, usual in (
        ("OS_CLIENT_CONFIG_FILE", CONFIG_FILES),
        ("OS_CLIENT_SECURE_FILE", SECURE_FILES),
    ):
        given = os.environ.get(variable)
        # Of each kind it reads the first that it can.
        paths = [given, *usual] if given else usual
        for path in [p for p in paths if os.access(p, os.R_OK)][:1]:
            found = _read_yaml(path) if origin.cloud else None
            yield path, _auth_of(found, origin.cloud)


def _auth_of(found: Any, cloud: str | None) -> dict[str, Any]:
    for name in ("clouds", cloud, "auth"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items()}


def _read_yaml(path: str) -> Any:
    """What is in a file, of JSON perhaps, which is YAML, too."""
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except OSError as error:
        why = str(error.strerror)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # What is there may be a secret; only the place is told.
        mark = getattr(error, "problem_mark", None)
        why = f"no valid YAML{f' in line {mark.line + 1}' if mark else ''}"
    raise ConfigError(one_line(f"clouds.yaml ({path}): {why}"))
