"""Settings of the connections to the job servers."""

from dataclasses import dataclass

from poolmgr.errors import ConfigError
from poolmgr.settings.rules import check, setting


def _job_servers(servers: tuple[str, ...]) -> None:
    # The transport loads asyncio, which --help does without.
    from poolmgr.gearman.address import Address

    for server in servers:
        Address.parse(server)


@dataclass(frozen=True)
class GearmanSettings:
    """Settings of the connections to job servers: the group ``[gearman]``."""

    servers: tuple[str, ...] = setting(
        ("localhost:4730",),
        "Job servers, host:port. Each is served.",
        check=_job_servers,
        old=("mgm.gearman",),
        words=True,
    )
    ssl_ca: str | None = setting(
        None,
        "File of certificates (PEM) to verify the job servers with. It turns "
        "TLS on.",
        old=("mgm.gearman_ssl_ca",),
    )
    ssl_cert: str | None = setting(
        None,
        "File of the certificate (PEM) to show to the job servers. Needs "
        "ssl_key and ssl_ca.",
        old=("mgm.gearman_ssl_cert",),
    )
    ssl_key: str | None = setting(
        None,
        "File of the private key (PEM) of ssl_cert.",
        old=("mgm.gearman_ssl_key",),
    )
    keepalive: bool = setting(
        True,
        "Have the system probe idle connections.",
        old=("mgm.gearman_keepalive",),
    )
    keepcnt: int = setting(
        3,
        "Unanswered probes that end a connection.",
        min=1,
        max=127,
        old=("mgm.gearman_keepcnt",),
    )
    keepidle: int = setting(
        10,
        "Seconds without traffic before the first probe.",
        min=1,
        max=32767,
        old=("mgm.gearman_keepidle",),
    )
    keepintvl: int = setting(
        5,
        "Seconds between two probes.",
        min=1,
        max=32767,
        old=("mgm.gearman_keepintvl",),
    )
    heartbeat: float = setting(
        10.0,
        "Seconds of silence before a job server is asked for an answer, and "
        "then seconds it has to give one.",
        min=0.1,
    )
    connect_timeout: float = setting(
        10.0,
        "Seconds that connecting may take, the TLS handshake included.",
        min=0.1,
    )
    reconnect_sleep: float = setting(
        5.0,
        "Longest pause between two attempts to connect, in seconds. The "
        "first are shorter.",
        min=0.1,
    )

    def __post_init__(self) -> None:
        check(self, "gearman")
        if not self.servers:
            raise ConfigError("[gearman] servers names no job server")
        mutual = {bool(self.ssl_cert), bool(self.ssl_key)}
        if len(mutual) == 2 or (True in mutual and not self.ssl_ca):
            raise ConfigError(
                "[gearman] ssl_cert needs ssl_key and ssl_ca, and ssl_key "
                "needs ssl_cert"
            )
