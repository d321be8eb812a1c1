"""How connections to job servers behave."""

import ssl as _ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionOptions:
    """Settings of every connection; times are in seconds.

    :ivar ssl: None is plain TCP; see :func:`poolmgr.gearman.client_context`
    :ivar connect_timeout: for name look-up, TCP and TLS together
    :ivar heartbeat: silence after which the server is asked for a sign of
        life; after as much silence again the connection is dropped
    :ivar keepalive: whether TCP looks for vanished peers, too
    :ivar keepalive_idle: silence before the first TCP probe
    :ivar keepalive_interval: between two TCP probes
    :ivar keepalive_count: unanswered TCP probes that end the connection
    :ivar user_timeout: how long sent data may stay unacknowledged;
        keepalive does not see that case
    :ivar retry_first: wait before the first reconnect; it doubles each time
    :ivar retry_longest: the longest wait before a reconnect
    :ivar max_packet: bytes; a peer that announces more is dropped. Only a
        job that is longer is taken, with its payload cut.
    """

    ssl: _ssl.SSLContext | None = None
    connect_timeout: float = 10
    heartbeat: float = 10
    keepalive: bool = True
    keepalive_idle: int = 10
    keepalive_interval: int = 5
    keepalive_count: int = 3
    user_timeout: float = 20
    retry_first: float = 0.1
    retry_longest: float = 5
    max_packet: int = 16 * 1024 * 1024
