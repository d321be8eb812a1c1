"""From settings to a session: who we are, and at which cloud."""

import copy
import importlib.metadata
import logging
import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from keystoneauth1.identity import v3
from keystoneauth1.identity.generic.base import BaseGenericPlugin
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection
from requests.adapters import HTTPAdapter

from poolmgr.drivers.nova.credentials import Origin, hide, wanted_of
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.transport import Transport
from poolmgr.errors import ConfigError
from poolmgr.text import one_line, secrecy

LOG = logging.getLogger(__name__)

_LOOKED_FOR = (
    "clouds.yaml is looked for in this folder, ~/.config/openstack and "
    "/etc/openstack, or is the file that OS_CLIENT_CONFIG_FILE names"
)
_SDK_MANUAL = "https://docs.openstack.org/openstacksdk/latest/user/config/"


@dataclass(frozen=True)
class Access:
    """How to get to a cloud.

    :ivar session: of keystoneauth; nobody else uses it
    :ivar config: the cloud's settings, as the SDK has them
    :ivar origin: says where they come from
    """

    session: Session
    config: CloudRegion
    origin: Origin


def connect(settings: NovaSettings) -> Access:
    """The way to a cloud; no call is made yet.

    :raises ConfigError: in one line, what is missing or wrong
    """
    origin = Origin(settings)
    wanted = wanted_of(origin)
    secrecy.show(_LOOKED_FOR)
    try:
        config = _choose(wanted)
        session = config.get_session()
        hide(config.get_auth_args())
        secrecy.show(config.name, config.get_region_name())
        return _prepared(session, config, origin)
    except ConfigError:
        raise
    except Exception as error:
        # keystoneauth tells what is missing by exceptions of no class, and
        # over a wrong form the SDK trips in all ways.
        said = one_line(secrecy.masked(str(error)))
        if "was not found" in said:
            raise ConfigError(f"[nova]: {said} ({_LOOKED_FOR})") from None
        raise ConfigError(
            f"{origin}: openstacksdk cannot use this: {said}; see "
            f"{_SDK_MANUAL}"
        ) from error


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
    return _prepared(session, connection.config, Origin(settings, True))


def keystone_url(url: str, origin: Origin) -> str:
    """Keystone's address, with version 3.

    :raises ConfigError: it is no address
    """
    bare = origin.check_address("auth_url", url)
    newer = with_version(bare, "v3")
    if bare.endswith("/v2.0"):
        LOG.warning(
            "%s is of the Identity API 2.0, which is gone; using %s",
            origin.of("auth_url"),
            one_line(newer),
        )
    return newer


def with_version(url: str, version: str) -> str:
    """A service's address with another version.

    No version document is read: the versions that poolmgr speaks have had
    their addresses for ten years, and such documents are often wrong, or
    hidden.

    :param url: it may end with a version, and then a project
    """
    ending = r"(/v\d+(\.\d+)?(/[^/]*)?)?/*\Z"
    return re.sub(ending, f"/{version}", url, count=1)


# -- inside -------------------------------------------------------------------


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


def _prepared(session: Session, config: CloudRegion, origin: Origin) -> Access:
    """Have a session log in at version 3, and send requests by our transport.

    What somebody has mounted for a purpose of his own stays.
    """
    plugin = session.auth
    if not isinstance(plugin, (BaseGenericPlugin, v3.BaseAuth)):
        raise ConfigError(
            f"{origin.of('auth_type')} is not a Keystone v3 login type; "
            "use password, v3applicationcredential or v3token"
        )
    for service in ("compute", "network", "image"):
        if given := config.get_endpoint(service):
            origin.check_address(f"{service}_endpoint_override", str(given))
    url = keystone_url(plugin.auth_url or "", origin)
    session.auth = copy.copy(plugin)
    session.auth.auth_url = url
    if isinstance(plugin, BaseGenericPlugin):
        # It would ask Keystone which versions it has, and wait for itself
        # for ever when that is answered with 401.
        session.auth = plugin.create_plugin(session, (3, 0), url)
    http = session.session
    plain = {
        prefix: type(adapter) in (HTTPAdapter, TCPKeepAliveAdapter)
        for prefix, adapter in http.adapters.items()
    }
    trusts = http.trust_env and all(plain.values())
    transport = Transport(origin.settings.calls_at_once, trusts)
    for prefix in filter(plain.get, plain):
        http.mount(prefix, transport)
    if trusts:
        # The environment is read once, and not for each request.
        http.trust_env = False
        if session.verify is True:
            names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
            bundles = filter(None, map(os.environ.get, names))
            session.verify = next(bundles, True)
    return Access(session, config, origin)
