"""From settings to a session: who we are, and at which cloud."""

import copy
import importlib.metadata
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1.exceptions import ClientException
from keystoneauth1.identity import v2, v3
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.identity.generic.base import BaseGenericPlugin
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection
from openstack.exceptions import SDKException
from requests.adapters import HTTPAdapter

from poolmgr.drivers.nova.clouds_yaml import check_clouds_yaml
from poolmgr.drivers.nova.credentials import (
    Origins,
    guard_loggers,
    hide,
    refuse_passwords,
)
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.tls_files import (
    bundle_of_environment,
    check_tls_files,
)
from poolmgr.drivers.nova.transport import Transport
from poolmgr.drivers.nova.urls import auth_url, nova_url
from poolmgr.errors import ConfigError
from poolmgr.text import one_line, secrecy
from poolmgr.text.secrecy import masked

_NAMED = (
    "name the cloud by --os-cloud, OS_CLOUD or [nova] cloud, or give "
    "[nova] auth_url and the credentials"
)
_LOOKED_FOR = (
    " (clouds.yaml is looked for in this folder, ~/.config/openstack and "
    "/etc/openstack, or is the file that OS_CLIENT_CONFIG_FILE names)"
)
_USER = ("username", "user_id", "user_domain_name", "user_domain_id")
_PROJECT = (
    "project_name",
    "project_id",
    "project_domain_name",
    "project_domain_id",
)
_CREDENTIAL = ("application_credential_id", "application_credential_name")
#: For each way to log in the plugin, the setting that it needs, and others.
#: The plugins of version 3 do not ask Keystone first which versions it has:
#: keystoneauth waits for itself for ever when that is answered with 401.
_LOGINS = {
    "password": ("v3password", "password", (*_USER, *_PROJECT)),
    "v3token": ("v3token", "token", _PROJECT),
    "v3applicationcredential": (
        "v3applicationcredential",
        "application_credential_secret",
        (*_CREDENTIAL, *_USER),
    ),
}


@dataclass(frozen=True)
class Access:
    """How to get to a cloud.

    :ivar session: of keystoneauth; nobody else uses it
    :ivar config: the cloud's settings, as the SDK has them
    :ivar origins: says where they come from
    """

    session: Session
    config: CloudRegion
    origins: Origins

    @property
    def trust(self) -> str:
        """What the cloud's certificates are verified with."""
        where, verify = self.origins.of("cacert"), self.session.verify
        bundle = bundle_of_environment()
        if bundle and verify == bundle[1]:
            where = bundle[0]
        if isinstance(verify, str):
            return f"it is verified with {one_line(verify)!r} ({where})"
        return f"name the file of its authority in {where}"


def connect(settings: NovaSettings) -> Access:
    """The way to a cloud; no call is made yet.

    :raises ConfigError: in one line, what is missing or wrong
    """
    origins = Origins(settings)
    wanted = _wanted(settings, origins)
    hide(wanted.get("auth", {}))
    secrecy.show(wanted.get("cloud"), _NAMED, _LOOKED_FOR)
    try:
        if origins.cloud:
            check_clouds_yaml(origins.cloud)
        cloud = _chosen(wanted)
        hide(cloud.get_auth_args())
        secrecy.show(cloud.name, cloud.get_region_name())
        refuse_passwords(cloud.config, origins.of)
        guard_loggers()
        check_tls_files(cloud, origins)
        session = cloud.get_session()
        _prepare(session, origins)
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
    return Access(session, cloud, origins)


def connection_of(session: Session) -> Connection:
    """A connection on a session that somebody else has made."""
    version = importlib.metadata.version("poolmgr")
    return Connection(session=session, app_name="poolmgr", app_version=version)


def access_from(connection: Connection, settings: NovaSettings) -> Access:
    """The way to a cloud by a connection that somebody else has made.

    It stays as it is: what is changed is a copy of its session.
    """
    session = copy.copy(connection.session)
    session.session = session._session = copy.copy(session.session)
    session.session.adapters = OrderedDict(session.session.adapters)
    origins = Origins(settings, is_given=True)
    _prepare(session, origins)
    return Access(session, connection.config, origins)


# -- inside -----------------------------------------------------------------


def _wanted(settings: NovaSettings, origins: Origins) -> dict[str, Any]:
    """What to ask the SDK for."""
    # What can be said beside clouds.yaml, too.
    common = {
        "region_name": settings.region_name,
        "interface": settings.interface,
        "cacert": settings.cafile,
        "cert": settings.certfile,
        "key": settings.keyfile,
        "verify": False if settings.insecure else None,
        "compute_endpoint_override": nova_url(settings.compute_endpoint),
        "network_endpoint_override": settings.network_endpoint,
    }
    wanted = {name: v for name, v in common.items() if v is not None}
    if origins.cloud:
        return {"cloud": origins.cloud, **wanted}
    if settings.auth_url:
        plugin, auth = _login(settings)
        return {"auth_type": plugin, "auth": auth, **wanted}
    if os.environ.get("OS_AUTH_URL"):
        return wanted
    raise ConfigError(f"[nova]: no cloud is configured; {_NAMED}")


def _chosen(wanted: dict[str, Any]) -> CloudRegion:
    """A cloud of the configuration, with the settings of ``[nova]``."""
    config = OpenStackConfig(
        load_yaml_config="cloud" in wanted,
        # With variables of poolmgr's own among them ("OS_NOVA__IMAGE"); the
        # SDK leaves alone what it does not know.
        load_envvars="auth" not in wanted,
        app_name="poolmgr",
        app_version=importlib.metadata.version("poolmgr"),
    )
    _keep_token(config)
    entry = config.cloud_config["clouds"].get(wanted.get("cloud"))
    if isinstance(entry, dict) and "regions" in entry:
        return config.get_one(**wanted)
    # Where the cloud has one region, the SDK would take no other.
    given = {name: wanted[name] for name in wanted if name == "region_name"}
    rest = {name: wanted[name] for name in wanted if name not in given}
    cloud = config.get_one(**rest)
    cloud.config.update(given)
    return cloud


def _keep_token(config: OpenStackConfig) -> None:
    """Have the SDK keep a token: before 4.5 it loses one beside auth_url."""
    fix = config.magic_fixes

    def fix_with_token(config: dict[str, Any]) -> dict[str, Any]:
        token = config.get("auth", {}).get("token")
        return fix({**config, "token": token} if token else config)

    vars(config)["magic_fixes"] = fix_with_token


def _login(settings: NovaSettings) -> tuple[str, Mapping[str, str]]:
    """The plugin of ``[nova]``, and its credentials."""
    plugin, needed, others = _LOGINS[settings.auth_type]
    found = {name: getattr(settings, name) for name in (needed, *others)}
    given = {name: value for name, value in found.items() if value}
    if needed not in given:
        raise ConfigError(
            f"[nova] {needed} is missing (auth_type is {settings.auth_type})"
        )
    if needed == "password" and not ({"username", "user_id"} & {*given}):
        raise ConfigError("[nova] username is missing")
    # Names are names in a domain; Libra's options know of none.
    for what, name in (("user", "username"), ("project", "project_name")):
        keys = (f"{what}_domain_id", f"{what}_domain_name")
        if name in given and not any(key in given for key in keys):
            given[keys[0]] = "default"
    return plugin, {"auth_url": auth_url(settings.auth_url or ""), **given}


def _prepare(session: Session, origins: Origins) -> None:
    """Have a session log in at version 3, and send requests by our transport.

    What somebody has mounted for a purpose of his own stays.
    """
    plugin = session.auth
    if isinstance(plugin, v2.Auth):
        raise ConfigError(
            f"{origins.of('auth_type')} is of the Identity API 2.0, which is "
            "gone; set it to password"
        )
    if not isinstance(plugin, BaseIdentityPlugin):
        raise ConfigError(
            f"{origins.of('auth_type')} is no way to log in at Keystone; set "
            "it to password or another one that is"
        )
    if isinstance(plugin, (BaseGenericPlugin, v3.BaseAuth)):
        url = auth_url(plugin.auth_url or "", origins.of("auth_url", "auth."))
        session.auth = copy.copy(plugin)
        session.auth.auth_url = url
        if isinstance(plugin, BaseGenericPlugin):
            session.auth = plugin.create_plugin(session, (3, 0), url)
    http = session.session
    plain = {
        prefix: type(adapter) in (HTTPAdapter, TCPKeepAliveAdapter)
        for prefix, adapter in http.adapters.items()
    }
    trusts = http.trust_env and all(plain.values())
    transport = Transport(origins.settings.calls_at_once, trusts)
    for prefix in filter(plain.get, plain):
        http.mount(prefix, transport)
    if trusts:
        # The environment is read once, and not for each request.
        http.trust_env = False
        bundle = bundle_of_environment()
        if session.verify is True and bundle:
            session.verify = bundle[1]
