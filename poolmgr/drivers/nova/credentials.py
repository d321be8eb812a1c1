"""Credentials: find them, hide their secrets, and make a session of them."""

import copy
import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import yaml
from keystoneauth1.identity import v3
from keystoneauth1.identity.generic.base import BaseGenericPlugin
from keystoneauth1.loading import get_plugin_loader
from keystoneauth1.session import Session
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.config.loader import CONFIG_FILES, SECURE_FILES
from openstack.connection import Connection

from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError
from poolmgr.text import one_line, secrecy

#: Options of ``[nova]`` that override any credentials, by the SDK's names.
_OVERRIDES = {
    "region_name": "region_name",
    "interface": "interface",
    "cacert": "cafile",
    "cert": "certfile",
    "key": "keyfile",
    "compute_endpoint_override": "compute_endpoint",
    "network_endpoint_override": "network_endpoint",
}
#: The option that each auth_type requires.
_REQUIRED = {
    "password": "password",
    "v3token": "token",
    "v3applicationcredential": "application_credential_secret",
}
# The parameters of keystoneauth's plugins that are not secret.
_HARMLESS = re.compile(
    r".*[_-](id|name|url)|username|identity[_-]provider|protocol"
    r"|system[_-]scope"
)
#: An HTTP URL with at most a path.
ADDRESS = re.compile(
    r"https?://([^\s/@?#:\[\]]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[^\s?#]*)?"
)
_NO_CLOUD = (
    "[nova]: no cloud is configured; name the cloud with --os-cloud, OS_CLOUD "
    "or [nova] cloud, or give [nova] auth_url and the credentials"
)
_PLACES = (
    "clouds.yaml is looked for in this folder, ~/.config/openstack and "
    "/etc/openstack, or is the file that OS_CLIENT_CONFIG_FILE names"
)


class Account(NamedTuple):
    """A session with a cloud that has not logged in yet.

    :ivar session: keystoneauth's session
    :ivar region: the cloud's settings, as read by the SDK
    :ivar origin: where these are set, such as "clouds.yaml: clouds.mycloud"
    :ivar plugin: logs in, with version 3 of the Identity API
    :ivar secret_files: files with secrets, each with the name of a secret
    """

    session: Session
    region: CloudRegion
    origin: str
    plugin: v3.BaseAuth
    secret_files: list[tuple[str, str]]


def check_address(name: str, url: str) -> str:
    """Return an address without blanks and slashes at its ends.

    :param name: the name of the setting, for the message
    :raises ConfigError: the address is not valid, or has a password in it,
        which libraries would repeat in their messages
    """
    stripped = url.strip().rstrip("/")
    if not ADDRESS.fullmatch(stripped) or stripped.endswith("/tokens"):
        raise ConfigError(
            f"{name} must be an address like https://cloud.example:5000/v3, "
            "without a user, a password or a query, not "
            f"{one_line(secrecy.masked(url))!r}"
        )
    return stripped


def with_version(url: str, version: str) -> str:
    """Return a service's address with another version.

    Version documents are not read: they are often wrong or hidden, and the
    paths of the versions that poolmgr needs have been the same for ten years.

    :param url: may end with a version, or with a version and a project
    """
    ending = r"(/v\d+(\.\d+)?(/[^/]*)?)?/*\Z"
    return re.sub(ending, f"/{version}", url, count=1)


def connect(
    settings: NovaSettings, connection: Connection | None = None
) -> Account:
    """Find the credentials and prepare a session; send nothing yet.

    :param connection: a connection to use instead of the credentials in the
        settings
    :raises ConfigError: something is missing or wrong
    """
    secret_files: list[tuple[str, str]] = []
    if connection is not None:
        session, region = connection.session, connection.config
        origin = "the connection"
    else:
        origin, wanted = _find_credentials(settings)
        if "cloud" in wanted:
            secret_files += _hide_secrets_in_files(wanted["cloud"])
        wanted.update(_overrides_in(settings))
        if settings.keyfile:
            secret_files.append((settings.keyfile, "[nova] keyfile"))
        region, session = _make_session(wanted, origin)
    for service in ("compute", "network", "image"):
        if given := region.get_endpoint(service):
            check_address(f"{origin}: {service}_endpoint_override", given)
    plugin = _make_v3_plugin(session, origin)
    return Account(session, region, origin, plugin, secret_files)


# -- inside -------------------------------------------------------------------


def _overrides_in(settings: NovaSettings) -> dict[str, Any]:
    """Return the settings that count instead of those of the credentials."""
    overrides: dict[str, Any] = {}
    for name, option in _OVERRIDES.items():
        if value := getattr(settings, option):
            overrides[name] = value
            if name.endswith("_endpoint_override"):
                check_address(f"[nova] {option}", value)
    if settings.insecure:
        overrides["verify"] = False
    return overrides


def _find_credentials(settings: NovaSettings) -> tuple[str, dict[str, Any]]:
    """Return where the credentials are set, and arguments for the SDK.

    :raises ConfigError: there are no credentials, or they are incomplete
    """
    if settings.auth_url:
        return "[nova]", _credentials_in(settings)
    if cloud := settings.cloud or os.environ.get("OS_CLOUD"):
        # Messages name the cloud, even if a password is the same word.
        secrecy.show(cloud)
        return f"clouds.yaml: clouds.{cloud}", {"cloud": cloud}
    if os.environ.get("OS_AUTH_URL"):
        return "the variables OS_*", {}
    raise ConfigError(_NO_CLOUD)


def _make_session(
    wanted: dict[str, Any], origin: str
) -> tuple[CloudRegion, Session]:
    """Have the SDK merge all settings of a cloud and make a session.

    :param wanted: settings that override those of the SDK's configuration
    :raises ConfigError: the SDK cannot use the settings
    """
    try:
        config = OpenStackConfig(
            load_yaml_config="cloud" in wanted,
            # Variables OS_* must not be mixed with [nova].
            load_envvars="auth" not in wanted,
            app_name="poolmgr",
            app_version=importlib.metadata.version("poolmgr"),
        )
        clouds = config.cloud_config["clouds"]
        entry = clouds.get(wanted.get("cloud", "envvars"))
        if "region_name" in wanted and entry and "regions" not in entry:
            # The SDK refuses to override a single region.
            entry["region_name"] = wanted["region_name"]
        region = config.get_one(**wanted)
        session = region.get_session()
    except Exception as error:
        # keystoneauth's exceptions for missing settings have no common class,
        # and a malformed clouds.yaml raises anything.
        why = one_line(secrecy.masked(str(error)))
        raise ConfigError(
            f"{origin}: openstacksdk cannot use this: {why} ({_PLACES})"
        ) from error
    # Now those of OS_* variables are known, too.
    _hide(region.get_auth_args())
    return region, session


def _make_v3_plugin(session: Session, origin: str) -> v3.BaseAuth:
    """Return a session's login plugin for version 3 of the Identity API.

    :raises ConfigError: it does not log in at Keystone, or has a wrong address
    """
    plugin = session.auth
    if not isinstance(plugin, (BaseGenericPlugin, v3.BaseAuth)):
        raise ConfigError(
            f"{origin}: auth_type is not a Keystone v3 login type; "
            "use password, v3applicationcredential or v3token"
        )
    url = check_address(f"{origin}: auth_url", plugin.auth_url or "")
    url = with_version(url, "v3")
    if isinstance(plugin, v3.BaseAuth):
        # The caller's own session keeps its address.
        plugin = copy.copy(plugin)
        plugin.auth_url = url
        return plugin
    # By itself the generic plugin would ask Keystone for its versions first,
    # and wait for its own lock if that is answered with 401.
    try:
        return cast(v3.BaseAuth, plugin.create_plugin(session, (3, 0), url))
    except Exception as error:
        raise ConfigError(f"{origin}: {one_line(str(error))}") from error


def _credentials_in(settings: NovaSettings) -> dict[str, Any]:
    """Return the credentials in ``[nova]``, as arguments for the SDK."""
    required = _REQUIRED[settings.auth_type]
    # keystoneauth's own "password" would ask Keystone for its versions.
    plugin = f"v3{settings.auth_type.removeprefix('v3')}"
    names = {option.dest for option in get_plugin_loader(plugin).get_options()}
    if plugin == "v3applicationcredential":
        # It belongs to a project; Keystone refuses a login that names one.
        names = {name for name in names if not name.startswith("project_")}
    found = {name: getattr(settings, name, None) for name in names}
    auth = {name: value for name, value in found.items() if value}
    _hide(auth)
    if required not in auth:
        raise ConfigError(
            f"[nova] {required} is missing (auth_type is {settings.auth_type})"
        )
    if required == "password" and not ({"username", "user_id"} & {*auth}):
        raise ConfigError("[nova] username is missing")
    # Keystone v3 wants a domain with a name; Libra's options have none.
    for what, name in (("user", "username"), ("project", "project_name")):
        if name in auth and f"{what}_domain_name" not in auth:
            auth.setdefault(f"{what}_domain_id", "default")
    return {"auth_type": plugin, "auth": auth}


def _hide(auth: Mapping[str, Any]) -> list[str]:
    """Hide the secrets in credentials; show all else, even if it is equal.

    A secret is what is not known to be harmless. YAML may read a password
    such as 1234 as a number.

    :returns: the names of the secrets
    """
    secrets = [n for n in auth if auth[n] and not _HARMLESS.fullmatch(n)]
    secrecy.hide(*(str(auth[name]) for name in secrets))
    secrecy.show(*auth, *(auth[name] for name in auth.keys() - secrets))
    return sorted(secrets)


def _hide_secrets_in_files(cloud: str) -> Iterator[tuple[str, str]]:
    """Hide the cloud's secrets in the files that the SDK will read.

    :returns: each file with a secret, and the name of one in it
    :raises ConfigError: a file is broken; the SDK would skip it, and log the
        parser's message, which may quote a secret
    """
    for variable, usual in (
        ("OS_CLIENT_CONFIG_FILE", CONFIG_FILES),
        ("OS_CLIENT_SECURE_FILE", SECURE_FILES),
    ):
        paths = [os.environ.get(variable, ""), *usual]
        # Of each kind the SDK reads the first file that it can.
        for path in [p for p in paths if os.access(p, os.R_OK)][:1]:
            for name in _hide(_read_auth(path, cloud))[:1]:
                yield path, f"clouds.{cloud}.auth.{name}"


def _read_auth(path: str, cloud: str) -> dict[str, Any]:
    """Return the cloud's credentials in a file of YAML or JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        why = getattr(error, "strerror", None) or f"no valid YAML{where}"
        # Without its cause, whose text quotes the line with the secret.
        raise ConfigError(one_line(f"clouds.yaml ({path}): {why}")) from None
    for name in ("clouds", cloud, "auth"):
        found = found.get(name) if isinstance(found, dict) else None
    entries = found.items() if isinstance(found, dict) else ()
    return {str(name): value for name, value in entries}
