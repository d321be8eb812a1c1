"""Settings of the loopback cloud."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CloudSettings:
    """Settings of a loopback cloud; times are in seconds.

    :ivar host: the address to listen on
    :ivar port: the TCP port to listen on; 0 for any free port
    :ivar boot_time: time from the POST of a server until it is ACTIVE
    :ivar boot_spread: largest random difference from the boot time
    :ivar boot_seed: seed of the random numbers, to repeat the same boot times;
        None for other times in each run
    :ivar delete_time: time from the DELETE of a server until it is gone
    :ivar address_delay: time from ACTIVE until the server shows its addresses
    :ivar floating_delay: time until the server's addresses show the change of
        a floating IP
    :ivar status_delay: time until the status of a floating IP, and with it the
        revision, shows a change
    :ivar latency: latency of all calls except those to identity
    :ivar latencies: latencies of single services by name: "compute",
        "network", "image", "identity"
    :ivar rate_limit: calls that each service but identity accepts in a second;
        more are answered with 429. None for no limit
    :ivar instances: quota of servers
    :ivar floating_ips: quota of floating IPs
    :ivar ports: quota of ports
    :ivar token_lifetime: lifetime of tokens
    :ivar soft_delete: whether deleted servers become SOFT_DELETED, as with
        Nova's ``reclaim_instance_interval``; lists do not show them
    :ivar routers: whether network has the extension "router", and with it
        floating IPs
    :ivar external_networks: names of the external networks
    :ivar floating_range: addresses of each external network; the first is
        the gateway's
    :ivar private_range: IPv4 addresses of the internal networks, or None
    :ivar private_range_v6: IPv6 addresses of the internal networks, or None
    :ivar max_limit: longest page of servers
    :ivar max_limit_network: longest page of network's lists; None for no limit
    :ivar max_microversion: newest microversion of compute, from 2.79 to 2.104
    """

    host: str = "127.0.0.1"
    port: int = 0
    boot_time: float = 0.0
    boot_spread: float = 0.0
    boot_seed: int | None = None
    delete_time: float = 0.0
    address_delay: float = 0.0
    floating_delay: float = 0.0
    status_delay: float = 0.0
    latency: float = 0.0
    latencies: Mapping[str, float] = field(default_factory=dict)
    rate_limit: float | None = None
    instances: int = 100_000
    floating_ips: int = 100_000
    ports: int = 100_000
    token_lifetime: float = 3600.0
    soft_delete: bool = False
    routers: bool = True
    external_networks: tuple[str, ...] = ("public",)
    floating_range: str = "198.18.0.0/16"
    private_range: str | None = "10.20.0.0/16"
    private_range_v6: str | None = None
    max_limit: int = 1000
    max_limit_network: int | None = None
    max_microversion: str = "2.104"

    def latency_of(self, service: str) -> float:
        """Return the latency of calls to a service."""
        default = 0.0 if service == "identity" else self.latency
        return self.latencies.get(service, default)
