"""Settings of the loopback cloud."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CloudSettings:
    """What a loopback cloud is like. All times are in seconds.

    :ivar host: address to listen on
    :ivar port: TCP port to listen on; 0 for any that is free
    :ivar boot_time: from the POST of a server until it is ACTIVE
    :ivar boot_spread: most that a boot takes longer or shorter, at random
    :ivar boot_seed: of that chance, so that two clouds have the same boots
        in the same order; None for others each time
    :ivar delete_time: from the DELETE of a server until it is gone
    :ivar address_delay: from ACTIVE until the server shows its addresses
    :ivar floating_delay: until a change of a floating IP shows in the
        addresses of the server
    :ivar status_delay: until a change of a floating IP shows in its status,
        and so in its revision
    :ivar latency: that every call takes, except those to identity; calls
        overlap
    :ivar latencies: the same for single services, by name: "compute",
        "network", "image", "identity"
    :ivar rate_limit: calls in a second that each service but identity
        accepts; the next ones get a 429. None: all.
    :ivar instances: quota of servers
    :ivar floating_ips: quota of floating IPs
    :ivar ports: quota of ports
    :ivar token_lifetime: after which a token is not accepted any more
    :ivar soft_delete: whether deleted servers are SOFT_DELETED, as with Nova's
        ``reclaim_instance_interval``: to be shown, but in no list
    :ivar routers: whether network has its extension "router", and so floating
        IPs
    :ivar external_networks: names of the external networks
    :ivar floating_range: addresses of each external network; the first is
        the gateway's
    :ivar private_range: IPv4 addresses of the internal networks, or None
    :ivar private_range_v6: IPv6 addresses of the internal networks, or None
    :ivar max_limit: most servers in one page of a list
    :ivar max_limit_network: most entries in one page of network's lists; None
        for any number
    :ivar max_microversion: the newest of compute, from 2.79 to 2.104
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
        """Seconds that a call to a service takes."""
        default = 0.0 if service == "identity" else self.latency
        return self.latencies.get(service, default)
