"""Settings of the Nova driver: the group ``[nova]``."""

import re
from dataclasses import dataclass
from typing import Literal

from poolmgr.errors import ConfigError
from poolmgr.settings import check, like, setting

_check_url = like(
    r"\s*https?://[^/\s].*", "like https://keystone.example:5000/v3"
)
_check_version = like(
    r"2\.(5[2-9]|[6-9]\d|[1-9]\d\d\d?)",
    "a microversion of Nova like 2.79, and 2.52 or newer",
)


def _check_metadata(entries: tuple[str, ...]) -> None:
    form = r"(?!poolmgr_)[A-Za-z0-9_:. -]{1,255}=.{0,255}"
    for entry in entries:
        if not re.fullmatch(form, entry, re.S):
            raise ValueError(
                "must be KEY=VALUE entries, each of at most 255 characters "
                f"and none of poolmgr_*, not {entry!r}"
            )


@dataclass(frozen=True)
class NovaSettings:
    """Settings of the Nova driver: the group ``[nova]``.

    Names of credentials are keystoneauth's.
    """

    # -- cloud and credentials ----------------------------------------------

    cloud: str | None = setting(
        None,
        "Cloud in clouds.yaml, instead of auth_url and credentials. Unset: "
        "OS_CLOUD, or OS_AUTH_URL and so on.",
    )
    auth_type: Literal["password", "v3applicationcredential", "v3token"] = (
        setting("password", "Type of login at auth_url.")
    )
    auth_url: str | None = setting(None, "URL of Keystone.", check=_check_url)
    username: str | None = setting(None, "User name.")
    user_id: str | None = setting(None, "User id, instead of the name.")
    password: str | None = setting(None, "User's password.", secret=True)
    user_domain_name: str | None = setting(None, "User's domain name.")
    user_domain_id: str | None = setting(
        None, "User's domain id. Unset: 'default'."
    )
    project_name: str | None = setting(None, "Project name.")
    project_id: str | None = setting(None, "Project id, instead of the name.")
    project_domain_name: str | None = setting(None, "Project's domain name.")
    project_domain_id: str | None = setting(
        None, "Project's domain id. Unset: 'default'."
    )
    application_credential_id: str | None = setting(
        None, "Id of an application credential."
    )
    application_credential_name: str | None = setting(
        None, "Name of an application credential; needs the user."
    )
    application_credential_secret: str | None = setting(
        None, "Secret of the application credential.", secret=True
    )
    token: str | None = setting(None, "Token; cannot be renewed.", secret=True)
    region_name: str | None = setting(None, "Region to use.")
    interface: Literal["public", "internal", "admin"] | None = setting(
        None, "Type of endpoint. Unset: public."
    )
    cafile: str | None = setting(None, "CA certificates (PEM).")
    certfile: str | None = setting(None, "Client certificate (PEM).")
    keyfile: str | None = setting(None, "Private key (PEM) of certfile.")
    insecure: bool = setting(False, "Do not verify certificates.")
    compute_endpoint: str | None = setting(
        None, "URL of Nova. Unset: the catalog's.", check=_check_url
    )
    network_endpoint: str | None = setting(
        None, "URL of Neutron. Unset: the catalog's.", check=_check_url
    )
    compute_api_version: str | None = setting(
        None, "Nova microversion. Unset: up to 2.79.", check=_check_version
    )

    # -- devices ------------------------------------------------------------

    image: str = setting("", "Image, by name or id.")
    flavor: str = setting("", "Flavor, by name or id.")
    networks: tuple[str, ...] = setting(
        (), "Networks, by name or id. Unset: the only network."
    )
    security_groups: tuple[str, ...] = setting(
        (), "Security groups, by name or id. Unset: the project's default."
    )
    key_name: str | None = setting(None, "Name of a key pair of the user.")
    availability_zones: tuple[str, ...] = setting(
        (), "Availability zones, used in turn. Unset: Nova chooses."
    )
    server_group: str | None = setting(None, "Server group, by name or id.")
    config_drive: bool = setting(False, "Give devices a configuration drive.")
    user_data: str | None = setting(None, "File of user data for cloud-init.")
    metadata: tuple[str, ...] = setting(
        (), "Additional metadata: KEY=VALUE entries.", check=_check_metadata
    )

    # -- addresses ----------------------------------------------------------

    address_network: str | None = setting(
        None, "Network of the address that is returned. Unset: any."
    )
    address_version: Literal["4", "6"] = setting(
        "4", "IP version of the address that is returned."
    )
    address_type: Literal["best", "floating", "fixed"] = setting(
        "best",
        "Type of the address that is returned. 'best': a floating IP, else a "
        "public address, else the first fixed one.",
    )
    device_floating_ip: bool = setting(
        False, "Give each device a floating IP, and release both together."
    )
    floating_network: str | None = setting(
        None, "External network, by name or id. Unset: the only one."
    )

    # -- calls --------------------------------------------------------------

    console_lines: int = setting(
        0, "Lines of a failed device's console to log.", min=0, max=1000
    )
    call_timeout: float = setting(
        30.0, "Timeout of a call, in seconds.", min=0.1, max=600
    )
    calls_at_once: int = setting(
        32, "Concurrent calls; a quarter is for short jobs.", min=1, max=1000
    )
    calls_per_second: float = setting(
        0.0, "Rate limit: calls per second; 0: none.", min=0, max=10000
    )

    def __post_init__(self) -> None:
        check(self, "nova")
        if self.cloud and self.auth_url:
            raise ConfigError(
                "[nova] cloud and auth_url are both given; remove one"
            )
        if self.address_type == "floating" and self.address_version == "6":
            raise ConfigError(
                "[nova] address_type is floating, but floating IPs are "
                "IPv4; set address_version to 4"
            )
