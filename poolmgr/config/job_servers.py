"""The connections to the job servers, from the settings."""

from poolmgr.config.gearman_settings import GearmanSettings
from poolmgr.errors import ConfigError, TransportError
from poolmgr.gearman import Address, ConnectionOptions, client_context

_WHAT_TO_DO = (
    "start gearmand there, or name another by --gearman-server or [gearman] "
    "servers"
)


def with_advice(error: TransportError) -> str:
    """Why a job server cannot be reached, and what to do about it.

    What is wrong with TLS is no matter of starting or naming one.
    """
    said = str(error)
    return said if "TLS: " in said else f"{said}; {_WHAT_TO_DO}"


def addresses(gearman: GearmanSettings) -> list[Address]:
    """The job servers' addresses.

    :raises ConfigError: one cannot be read
    """
    return [Address.parse(text) for text in gearman.servers]


def connection_options(gearman: GearmanSettings) -> ConnectionOptions:
    """The settings as the transport takes them.

    :raises ConfigError: the TLS settings cannot be used
    """
    try:
        context = client_context(
            gearman.ssl_ca, gearman.ssl_cert, gearman.ssl_key
        )
    except ConfigError as error:
        raise ConfigError(
            f"[gearman] ssl_ca, ssl_cert, ssl_key: {error}"
        ) from None
    return ConnectionOptions(
        ssl=context,
        connect_timeout=gearman.connect_timeout,
        heartbeat=gearman.heartbeat,
        keepalive=gearman.keepalive,
        keepalive_idle=gearman.keepidle,
        keepalive_interval=gearman.keepintvl,
        keepalive_count=gearman.keepcnt,
        retry_longest=gearman.reconnect_sleep,
    )
