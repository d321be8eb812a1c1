"""Settings of the connections to the job servers."""

from dataclasses import dataclass

from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman.endpoint import Address, ConnectionOptions, client_context
from poolmgr.settings import setting


def _check_servers(servers: tuple[str, ...]) -> None:
    for server in servers:
        Address.parse(server)


@dataclass(frozen=True)
class GearmanSettings:
    """Settings of the connections to job servers: the group ``[gearman]``."""

    servers: tuple[str, ...] = setting(
        ("localhost:4730",),
        "Job servers, as host:port. The worker serves all of them.",
        check=_check_servers,
        words=True,
    )
    ssl_ca: str | None = setting(
        None, "CA certificates (PEM) for the job servers. Turns TLS on."
    )
    ssl_cert: str | None = setting(
        None, "Client certificate (PEM). Needs ssl_key and ssl_ca."
    )
    ssl_key: str | None = setting(None, "Private key (PEM) of ssl_cert.")
    keepalive: bool = setting(True, "Probe idle connections (TCP keepalive).")
    keepcnt: int = setting(
        3, "Unanswered probes that end a connection.", min=1, max=127
    )
    keepidle: int = setting(
        10, "Idle seconds before the first probe.", min=1, max=32767
    )
    keepintvl: int = setting(
        5, "Seconds between two probes.", min=1, max=32767
    )
    heartbeat: float = setting(
        10.0,
        "Seconds of silence before the worker sends an echo request to a "
        "job server, and seconds that the reply may take.",
        min=0.1,
    )
    connect_timeout: float = setting(
        10.0, "Seconds for connecting, including TLS.", min=0.1
    )
    reconnect_sleep: float = setting(
        5.0, "Longest pause between two attempts, in seconds.", min=0.1
    )

    def addresses(self) -> list[Address]:
        """Return the addresses of the job servers.

        :raises ConfigError: there is no job server
        """
        if not self.servers:
            raise ConfigError("[gearman] servers names no job server")
        return [Address.parse(text) for text in self.servers]

    def connection_options(self) -> ConnectionOptions:
        """Return the settings in the transport's form.

        :raises ConfigError: the TLS settings are invalid
        """
        try:
            context = client_context(self.ssl_ca, self.ssl_cert, self.ssl_key)
        except ConfigError as error:
            raise ConfigError(
                f"[gearman] ssl_ca, ssl_cert, ssl_key: {error}"
            ) from None
        return ConnectionOptions(
            ssl=context,
            connect_timeout=self.connect_timeout,
            heartbeat=self.heartbeat,
            keepalive=self.keepalive,
            keepalive_idle=self.keepidle,
            keepalive_interval=self.keepintvl,
            keepalive_count=self.keepcnt,
            retry_longest=self.reconnect_sleep,
        )


def with_advice(error: TransportError) -> str:
    """Return why a job server cannot be reached, and what to do.

    For a TLS error there is no advice, because the job server is running.
    """
    if "TLS: " in str(error):
        return str(error)
    return (
        f"{error}; start gearmand there, or name another with "
        "--gearman-server or [gearman] servers"
    )
