"""Settings of the Nova driver: the group ``[nova]``."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from poolmgr.drivers.nova.microversion import NEEDED
from poolmgr.errors import ConfigError
from poolmgr.settings import check, setting

AuthType = Literal["password", "v3applicationcredential", "v3token"]
AddressType = Literal["best", "floating", "fixed"]


def _metadata(entries: tuple[str, ...]) -> None:
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_:. -]{1,255}", key):
            raise ValueError(f"must be KEY=VALUE entries, not {entry!r}")
        if key.startswith("poolmgr_"):
            raise ValueError(f"must leave {key!r} to poolmgr")
        if len(value) > 255:
            raise ValueError(f"must have values of 255 characters: {key!r}")


def _address(example: str) -> Callable[[str], None]:
    """A check for the address of a service."""

    def check_address(url: str) -> None:
        if not re.match(r"\s*https?://[^/\s]", url):
            raise ValueError(f"must be like {example}, not {url!r}")

    return check_address


def _microversion(version: str) -> None:
    found = re.fullmatch(r"2\.([0-9]{1,4})", version)
    if found is None or (2, int(found[1])) < NEEDED:
        raise ValueError(
            f"must be a microversion of Nova like 2.79, and 2.52 or newer, "
            f"not {version!r}"
        )


@dataclass(frozen=True)
class NovaSettings:
    """Settings of the Nova driver: the group ``[nova]``.

    Names of credentials are keystoneauth's.
    """

    # -- which cloud, and as whom -------------------------------------------

    cloud: str | None = setting(
        None,
        "Name of a cloud in clouds.yaml. Instead, the credentials can be "
        "given here, beginning with auth_url; without either, the "
        "environment is used: OS_CLOUD, or OS_AUTH_URL and so on.",
    )
    auth_type: AuthType = setting(
        "password",
        "How to log in, when auth_url is given. What is not listed can be "
        "used by way of clouds.yaml.",
        choices=("password", "v3applicationcredential", "v3token"),
    )
    auth_url: str | None = setting(
        None,
        "Address of Keystone. One that ends in /v2.0 is taken for /v3.",
        check=_address("https://keystone.example:5000/v3"),
        old=("mgm.nova_auth_url",),
    )
    username: str | None = setting(
        None, "User's name.", old=("mgm.nova_user",)
    )
    user_id: str | None = setting(None, "User's id, instead of the name.")
    password: str | None = setting(
        None, "User's password.", secret=True, old=("mgm.nova_pass",)
    )
    user_domain_name: str | None = setting(None, "Name of the user's domain.")
    user_domain_id: str | None = setting(
        None, "Id of the user's domain; 'default' if neither is given."
    )
    project_name: str | None = setting(
        None, "Project's name.", old=("mgm.nova_tenant",)
    )
    project_id: str | None = setting(
        None,
        "Project's id, instead of the name.",
        old=("mgm.nova_tenant_id",),
    )
    project_domain_name: str | None = setting(
        None, "Name of the project's domain."
    )
    project_domain_id: str | None = setting(
        None, "Id of the project's domain; 'default' if neither is given."
    )
    application_credential_id: str | None = setting(
        None, "Id of an application credential."
    )
    application_credential_name: str | None = setting(
        None, "Name of an application credential; needs the user as well."
    )
    application_credential_secret: str | None = setting(
        None, "Secret of the application credential.", secret=True
    )
    token: str | None = setting(
        None,
        "A token to log in with. It cannot be renewed: good for a command, "
        "not for a worker.",
        secret=True,
    )
    region_name: str | None = setting(
        None, "Region to use.", old=("mgm.nova_region",)
    )
    interface: Literal["public", "internal", "admin"] | None = setting(
        None,
        "Which of the cloud's endpoints to use; public if unset.",
        choices=("public", "internal", "admin"),
    )
    cafile: str | None = setting(
        None, "File of certificates (PEM) that the cloud's are verified with."
    )
    certfile: str | None = setting(
        None, "File of the certificate (PEM) to show to the cloud."
    )
    keyfile: str | None = setting(
        None, "File of the private key (PEM) of certfile."
    )
    insecure: bool = setting(
        False,
        "Do not verify the cloud's certificates.",
        old=("mgm.nova_insecure",),
    )
    compute_endpoint: str | None = setting(
        None,
        "Address of Nova, in place of the one in the service catalog.",
        check=_address("https://nova.example:8774/v2.1"),
        old=("mgm.nova_bypass_url",),
    )
    network_endpoint: str | None = setting(
        None,
        "Address of Neutron, likewise.",
        check=_address("https://neutron.example:9696"),
    )
    compute_api_version: str | None = setting(
        None,
        "Microversion to speak with Nova in, like 2.79. Unset: 2.79, or the "
        "newest that Nova has where that is older.",
        check=_microversion,
    )

    # -- what devices are made of -------------------------------------------

    image: str = setting(
        "",
        "Image that devices are made from, by name or id.",
        old=("mgm.nova_image",),
    )
    flavor: str = setting(
        "",
        "Flavor of the devices, by name or id.",
        old=("mgm.nova_image_size",),
    )
    networks: tuple[str, ...] = setting(
        (),
        "Networks that devices are attached to, by name or id. Unset: the "
        "one there is.",
        old=("mgm.nova_net_id",),
    )
    security_groups: tuple[str, ...] = setting(
        (),
        "Security groups of the devices, by name or id. Unset: the "
        "project's default.",
        old=("mgm.nova_secgroup",),
    )
    key_name: str | None = setting(
        None, "Key pair put into the devices.", old=("mgm.nova_keyname",)
    )
    availability_zones: tuple[str, ...] = setting(
        (),
        "Availability zones that devices are built in, in turn. Unset: Nova "
        "chooses.",
        old=("mgm.nova_az_name",),
    )
    server_group: str | None = setting(
        None,
        "Server group of the devices, by name or id; one with an "
        "anti-affinity policy keeps them on different hosts.",
    )
    config_drive: bool = setting(
        False, "Whether devices get a configuration drive."
    )
    user_data: str | None = setting(
        None, "File whose content is the devices' user data."
    )
    metadata: tuple[str, ...] = setting(
        (),
        "Metadata of the devices besides poolmgr's own: KEY=VALUE entries.",
        check=_metadata,
    )

    # -- addresses ----------------------------------------------------------

    address_network: str | None = setting(
        None,
        "Name of the network whose address of a device is answered. Unset: "
        "any.",
    )
    address_version: Literal["4", "6"] = setting(
        "4", "IP version of the address answered.", choices=("4", "6")
    )
    address_type: AddressType = setting(
        "best",
        "Kind of the address answered. 'best': a floating one, else a "
        "public one, else the first fixed one. A device that has none is "
        "waited for.",
        choices=("best", "floating", "fixed"),
    )
    device_floating_ip: bool = setting(
        False,
        "Give each device a floating IP when it is built, answer that one, "
        "and release it with the device.",
    )
    floating_network: str | None = setting(
        None,
        "External network that floating IPs are taken from, by name or id. "
        "Unset: the one there is.",
    )

    # -- calls --------------------------------------------------------------

    console_lines: int = setting(
        0,
        "Lines of its console that are logged, and told as a reason, when a "
        "device goes to ERROR.",
        min=0,
        max=1000,
    )
    call_timeout: float = setting(
        30.0,
        "Seconds that one call of the cloud may take.",
        min=0.1,
        max=600,
        old=("mgm.nova_timeout",),
    )
    calls_at_once: int = setting(
        32,
        "Most calls of the cloud under way at once. A quarter is kept for "
        "short jobs.",
        min=1,
        max=1000,
    )
    calls_per_second: float = setting(
        0.0,
        "Most calls of the cloud begun in a second, short jobs' first; 0 "
        "for any number.",
        min=0,
        max=10000,
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
