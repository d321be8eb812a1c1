"""From settings to a connection: who we are, and at which cloud.

The SDK is imported here when it is needed, and nowhere else in poolmgr.
"""

import copy
import importlib.metadata
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from poolmgr import secrecy
from poolmgr.drivers.nova.clouds_yaml import check_clouds_yaml
from poolmgr.drivers.nova.credentials import (
    guard_loggers,
    hide,
    refuse_passwords,
)
from poolmgr.drivers.nova.origins import Origins
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.tls_files import check_tls_files
from poolmgr.errors import ConfigError
from poolmgr.secrecy import masked
from poolmgr.text import one_line

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config import OpenStackConfig
    from openstack.config.cloud_region import CloudRegion
    from openstack.connection import Connection

LOG = logging.getLogger(__name__)

_NAMED = (
    "name the cloud by --os-cloud, OS_CLOUD or [nova] cloud, or give "
    "[nova] auth_url and the credentials"
)

_LOOKED_FOR = (
    " (clouds.yaml is looked for in this folder, ~/.config/openstack and "
    "/etc/openstack, or is the file that OS_CLIENT_CONFIG_FILE names)"
)


def connect(settings: NovaSettings) -> "Connection":
    """A connection; no call is made yet.

    :raises ConfigError: in one line, what is missing or wrong
    """
    import openstack.config
    from keystoneauth1.exceptions import ClientException
    from openstack.connection import Connection
    from openstack.exceptions import SDKException

    files, environment, wanted = _wanted(settings)
    origins = Origins(settings)
    hide(wanted.get("auth", {}))
    secrecy.show(wanted.get("cloud"), _NAMED, _LOOKED_FOR)
    try:
        if files:
            check_clouds_yaml(wanted["cloud"])
        config = openstack.config.OpenStackConfig(
            load_yaml_config=files,
            load_envvars=environment,
            app_name="poolmgr",
            app_version=importlib.metadata.version("poolmgr"),
        )
        _keep_token(config)
        cloud = _chosen(config, wanted)
        hide(cloud.get_auth_args())
        secrecy.show(cloud.name, cloud.get_region_name())
        refuse_passwords(cloud.config, origins.of)
        guard_loggers()
        check_tls_files(cloud, origins)
        connection = Connection(config=cloud)
        _use_version_3(connection.session, origins)
        _mount(connection.session, settings.calls_at_once)
    except ConfigError:
        raise
    except Exception as error:
        said = one_line(masked(str(error)))
        if "was not found" in said:
            raise ConfigError(f"[nova]: {said}{_LOOKED_FOR}") from None
        where = origins.credentials
        known = (SDKException, ClientException, OSError)
        # keystoneauth tells what is missing by an exception of no class.
        if isinstance(error, known) or type(error) is Exception:
            raise ConfigError(f"{where}: {said}") from None
        # The SDK has tripped over it, and its words are of its own code.
        raise ConfigError(
            f"{where}: openstacksdk cannot use this; compare it with "
            "https://docs.openstack.org/openstacksdk/latest/user/config/"
        ) from error
    return connection


def _keep_token(config: "OpenStackConfig") -> None:
    """Have the SDK keep a token: before 4.5 it loses one beside auth_url."""
    fix = config.magic_fixes

    def fix_with_token(config: dict[str, Any]) -> dict[str, Any]:
        token = config.get("auth", {}).get("token")
        return fix({**config, "token": token} if token else config)

    vars(config)["magic_fixes"] = fix_with_token


def _chosen(
    config: "OpenStackConfig", wanted: dict[str, Any]
) -> "CloudRegion":
    """A cloud of the configuration, with the settings of ``[nova]``."""
    entry = config.cloud_config["clouds"].get(wanted.get("cloud"))
    if isinstance(entry, dict) and "regions" in entry:
        return config.get_one(**wanted)
    # Where the cloud has one region, the SDK would take no other.
    given = {name: wanted[name] for name in wanted if name == "region_name"}
    rest = {name: wanted[name] for name in wanted if name not in given}
    cloud = config.get_one(**rest)
    cloud.config.update(given)
    return cloud


def connection_of(session: "Session") -> "Connection":
    """A connection on a session that somebody else has made."""
    from openstack.connection import Connection

    return Connection(
        session=session,
        app_name="poolmgr",
        app_version=importlib.metadata.version("poolmgr"),
    )


def on_transport(connection: "Connection", calls: int) -> "Connection":
    """A connection like one that somebody else has made, and keeps.

    :param calls: how many there may be at once
    """
    from openstack.config import cloud_region
    from openstack.connection import Connection

    session = copy.copy(connection.session)
    session.session = session._session = copy.copy(session.session)
    session.session.adapters = OrderedDict(session.session.adapters)
    _mount(session, calls)
    config = cloud_region.from_session(
        session=session,
        app_name="poolmgr",
        app_version=importlib.metadata.version("poolmgr"),
        **copy.deepcopy(connection.config.config),
    )
    return Connection(config=config)


def _wanted(settings: NovaSettings) -> tuple[bool, bool, dict[str, Any]]:
    """Whether to read clouds.yaml, the environment, and what to ask for."""
    wanted = _common(settings)
    cloud = Origins(settings).cloud
    if cloud:
        return True, True, {"cloud": cloud, **wanted}
    if settings.auth_url:
        auth = _auth(settings)
        return (
            False,
            False,
            {
                "auth_type": _AUTH_TYPES[settings.auth_type],
                "auth": auth,
                **wanted,
            },
        )
    if os.environ.get("OS_AUTH_URL"):
        # With variables of poolmgr's own among them ("OS_NOVA__IMAGE"); the
        # SDK leaves alone what it does not know.
        return False, True, wanted
    raise ConfigError(f"[nova]: no cloud is configured; {_NAMED}")


def _common(settings: NovaSettings) -> dict[str, Any]:
    """What can be said beside clouds.yaml, too."""
    given = {
        "region_name": settings.region_name,
        "interface": settings.interface,
        "cacert": settings.cafile,
        "cert": settings.certfile,
        "key": settings.keyfile,
        "verify": False if settings.insecure else None,
        "compute_endpoint_override": _nova_url(settings.compute_endpoint),
        "network_endpoint_override": settings.network_endpoint,
        "api_timeout": settings.call_timeout,
    }
    return {key: value for key, value in given.items() if value is not None}


def _auth(settings: NovaSettings) -> dict[str, str]:
    given = {"auth_url": auth_url(settings.auth_url or "")}
    kind = settings.auth_type
    if kind == "v3token":
        _need(settings, "token")
        given |= _some(settings, "token", *_PROJECT)
    elif kind == "v3applicationcredential":
        _need(settings, "application_credential_secret")
        given |= _some(
            settings,
            "application_credential_id",
            "application_credential_name",
            "application_credential_secret",
            *_USER,
        )
    else:
        _need(settings, "password")
        given |= _some(settings, "password", *_USER, *_PROJECT)
    return _with_domains(given, kind)


# Without asking Keystone first which versions it has: keystoneauth waits for
# itself for ever when that is answered with 401.
_AUTH_TYPES = {
    "password": "v3password",
    "v3applicationcredential": "v3applicationcredential",
    "v3token": "v3token",
}
_USER = ("username", "user_id", "user_domain_name", "user_domain_id")
_PROJECT = (
    "project_name",
    "project_id",
    "project_domain_name",
    "project_domain_id",
)


def _some(settings: NovaSettings, *names: str) -> dict[str, str]:
    found = {name: getattr(settings, name) for name in names}
    return {name: value for name, value in found.items() if value}


def _need(settings: NovaSettings, name: str) -> None:
    if not getattr(settings, name):
        raise ConfigError(
            f"[nova] {name} is missing (auth_type is {settings.auth_type})"
        )


def _with_domains(given: Mapping[str, str], kind: str) -> dict[str, str]:
    """Names are names in a domain; Libra's options know of none."""
    result = dict(given)
    for what, name in (("user", "username"), ("project", "project_name")):
        keys = (f"{what}_domain_id", f"{what}_domain_name")
        if name in given and not any(key in given for key in keys):
            result[keys[0]] = "default"
    if kind == "password" and not ({"username", "user_id"} & {*given}):
        raise ConfigError("[nova] username is missing")
    return result


def auth_url(url: str, where: str = "[nova] auth_url") -> str:
    """Keystone's address, with version 3.

    :param where: where the address is set
    :raises ConfigError: it is no address of a Keystone
    """
    bare = url.strip().rstrip("/")
    refuse_passwords({"auth_url": url}, lambda _name, _prefix: where)
    if not is_address(bare):
        raise ConfigError(
            f"{where} must be like https://keystone.example:5000/v3, "
            f"not {one_line(url)!r}"
        )
    if bare.endswith("/tokens"):
        # Some manuals want it so.
        raise ConfigError(
            f"{where} is the address of tokens, {one_line(url)!r}; it has to "
            "end with /v3"
        )
    if bare.endswith("/v3"):
        return bare
    newer = f"{bare.removesuffix('/v2.0')}/v3"
    if bare.endswith("/v2.0"):
        LOG.warning(
            "%s is of the Identity API 2.0, which is gone; using %s",
            where,
            one_line(newer),
        )
    return newer


def is_address(url: str) -> bool:
    """Whether a text is an address of HTTP."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(
            parts.hostname and (parts.port is None or parts.port)
        )
    except ValueError:
        return False


def _use_version_3(session: "Session", origins: Origins) -> None:
    """Log in at version 3, without asking Keystone which versions it has.

    keystoneauth's plugins that ask wait for their own lock for ever when the
    question is answered with 401.
    """
    from keystoneauth1.identity import v2, v3
    from keystoneauth1.identity.generic.base import BaseGenericPlugin

    plugin = session.auth
    if isinstance(plugin, v2.Auth):
        raise ConfigError(
            f"{origins.of('auth_type')} is of the Identity API 2.0, which is "
            "gone; set it to password"
        )
    if isinstance(plugin, (BaseGenericPlugin, v3.BaseAuth)):
        where = origins.of("auth_url", "auth.")
        plugin.auth_url = auth_url(plugin.auth_url or "", where)
    if isinstance(plugin, BaseGenericPlugin):
        session.auth = plugin.create_plugin(session, (3, 0), plugin.auth_url)


def _nova_url(url: str | None) -> str | None:
    """Nova's address; those of Libra's days name a version that is gone."""
    if url is None:
        return None
    newer, found = re.subn(r"/v(1\.1|2)(/[^/]+)?/?$", "/v2.1", url)
    if found:
        LOG.warning(
            "[nova] compute_endpoint is of a Compute API that is gone; using "
            "%s",
            one_line(newer),
        )
    return newer


def _mount(session: "Session", calls: int) -> None:
    """Have a session's requests go by our transport.

    What somebody has mounted for a purpose of his own stays.
    """
    from keystoneauth1.session import TCPKeepAliveAdapter
    from requests.adapters import HTTPAdapter

    from poolmgr.drivers.nova.transport import Transport

    for prefix, adapter in list(session.session.adapters.items()):
        if type(adapter) in (HTTPAdapter, TCPKeepAliveAdapter):
            session.session.mount(prefix, Transport(calls + 2))
