"""The settings of the fake cloud."""

from dataclasses import dataclass
from ipaddress import IPv4Network

from poolmgr.settings import check, setting


@dataclass(frozen=True)
class FakeSettings:
    """Settings of the fake cloud: the group ``[fake]``."""

    state: str | None = setting(
        None, "File of the devices and floating IPs. Unset: in memory."
    )
    image: str = setting("fake-image", "Image of the devices.")
    boot_time: float = setting(
        0.0, "Seconds that a device takes to boot.", min=0, max=86400
    )
    boot_spread: float = setting(
        0.0, "Seconds by which boots vary at random.", min=0, max=86400
    )
    call_time: float = setting(
        0.0, "Seconds that each call of the cloud takes.", min=0, max=3600
    )
    boot_failure_rate: float = setting(
        0.0, "Share of the devices that fail to boot, 0 to 1.", min=0, max=1
    )
    call_failure_rate: float = setting(
        0.0, "Share of the calls that fail, 0 to 1.", min=0, max=1
    )
    device_quota: int = setting(
        10000, "Maximum number of devices.", min=0, max=1000000
    )
    ip_quota: int = setting(
        10000, "Maximum number of floating IPs.", min=0, max=1000000
    )
    device_range: str = setting(
        "10.0.0.0/16", "Network of the devices' addresses.", check=IPv4Network
    )
    # From the range for benchmarks (RFC 2544), which nobody has.
    ip_range: str = setting(
        "198.18.0.0/16", "Network of the floating IPs.", check=IPv4Network
    )
    closed_port: int | None = setting(
        None, "TCP port that attached floating IPs refuse.", min=1, max=65535
    )

    def __post_init__(self) -> None:
        check(self, "fake")
