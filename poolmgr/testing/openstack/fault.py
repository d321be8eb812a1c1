"""Faults by rule: what goes wrong, where and how often."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from poolmgr.testing.openstack.record import Call

_EFFECTS = [
    "status",
    "reset",
    "hang",
    "truncate",
    "html",
    "drip",
    "change",
    "drip_head",
    "fate",
]


@dataclass(frozen=True)
class Fate:
    """What becomes of what a request makes; the answer is a normal one.

    :ivar error: the server goes to ERROR, with this as its fault's message;
        one that is to be deleted does instead
    :ivar stuck: the server never leaves BUILD
    :ivar no_address: the server becomes ACTIVE, without addresses
    :ivar vanish: seconds from its creation after which the server is gone,
        as if somebody else had deleted it
    :ivar lost: the change of a floating IP, or the deletion of a server, is
        answered and not made
    """

    error: str | None = None
    stuck: bool = False
    no_address: bool = False
    vanish: float | None = None
    lost: bool = False


@dataclass(frozen=True)
class Fault:
    """A rule: requests that match suffer one effect.

    A request matches by everything that is given of:

    :ivar method: "POST"
    :ivar path: regular expression that has to match the whole path, without
        the service's prefix: "/servers", "/servers/[^/]+", "/floatingips"
    :ivar service: "compute", "network", "image" or "identity"
    :ivar query: parameters, with their values, that the query must have
    :ivar where: called with the :class:`Call`, decides; its body is parsed
    :ivar skip: so many requests that match pass first
    :ivar times: so many requests suffer it; None for all

    The effect is exactly one of:

    :ivar status: an answer with this HTTP status and the service's own JSON
        (or ``body``: JSON to be, a text, or bytes), ``headers`` and
        ``retry_after`` (seconds, or a datetime to send as HTTP date)
    :ivar reset: the connection is reset without an answer
    :ivar hang: nothing happens for so many seconds; then the request goes on
        as if nothing was, or, with ``drop``, the connection is closed
    :ivar html: an HTML page with status 200, as a proxy would answer
    :ivar truncate: of the true answer only half is sent
    :ivar drip: the true answer is sent byte by byte, so many seconds apart
    :ivar drip_head: a head without end is sent likewise
    :ivar change: called with the JSON of the true answer; what it returns is
        sent instead
    :ivar fate: see :class:`Fate` and the constructors below

    :ivar after: the request takes effect first, and then only its answer
        suffers. Always so with ``truncate``, ``drip``, ``drip_head``,
        ``change`` and ``fate``.
    """

    method: str | None = None
    path: str | None = None
    service: str | None = None
    query: Mapping[str, str] | None = None
    where: Callable[[Call], bool] | None = None
    skip: int = 0
    times: int | None = 1
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] | None = None
    retry_after: float | datetime | None = None
    reset: bool = False
    hang: float | None = None
    drop: bool = False
    html: bool = False
    truncate: bool = False
    drip: float | None = None
    change: Callable[[Any], Any] | None = None
    drip_head: float | None = None
    fate: Fate | None = None
    after: bool = False

    def __post_init__(self) -> None:
        values = {effect: getattr(self, effect) for effect in _EFFECTS}
        given = [
            e for e, v in values.items() if v is not None and v is not False
        ]
        if len(given) != 1:
            raise ValueError(
                f"a fault has exactly one effect of {', '.join(_EFFECTS)}; "
                f"this one has {', '.join(given) or 'none'}"
            )
        if self.drop and self.hang is None:
            raise ValueError("only what hangs can drop")
        if self.status is not None and not 100 <= self.status <= 599:
            raise ValueError(f"{self.status} is no HTTP status")
        re.compile(self.path or "")

    @classmethod
    def server_error(
        cls, message: str = "No valid host was found. ", **rule: Any
    ) -> Self:
        """The server created goes to ERROR when its boot time is over.

        :param message: of the server's fault
        :param rule: times, skip, where and what else selects requests
        """
        return cls._of_server(Fate(error=message), rule)

    @classmethod
    def stuck(cls, **rule: Any) -> Self:
        """The server created never leaves BUILD."""
        return cls._of_server(Fate(stuck=True), rule)

    @classmethod
    def no_address(cls, **rule: Any) -> Self:
        """The server created becomes ACTIVE without addresses."""
        return cls._of_server(Fate(no_address=True), rule)

    @classmethod
    def vanish(cls, seconds: float, **rule: Any) -> Self:
        """The server created is gone so many seconds after its POST."""
        return cls._of_server(Fate(vanish=seconds), rule)

    @classmethod
    def lost_floating_ip(cls, **rule: Any) -> Self:
        """The PUT of a floating IP is answered with 200 and not made."""
        return cls(
            **{"method": "PUT", "path": "/floatingips/[^/]+", **rule},
            fate=Fate(lost=True),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """A fault from the fields' names and values.

        :param value: a ``fate`` in it is an object, too
        :raises ValueError: it cannot be a fault
        """
        known = {each.name for each in fields(cls)} - {"where", "change"}
        unknown = set(value) - known
        if unknown:
            raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
        given = dict(value)
        try:
            if isinstance(given.get("fate"), Mapping):
                given["fate"] = Fate(**given["fate"])
            return cls(**given)
        except (TypeError, re.error) as error:
            raise ValueError(str(error)) from error

    @classmethod
    def _of_server(cls, fate: Fate, rule: dict[str, Any]) -> Self:
        return cls(**{"method": "POST", "path": "/servers", **rule}, fate=fate)

    def matches(self, call: Call) -> bool:
        """Whether a call is one that this is for."""
        return (
            call.matches(self.method, self.service, self.path)
            and (self.query or {}).items() <= call.query.items()
            and (self.where is None or self.where(call))
        )


class FaultRules:
    """The faults in force, the oldest first.

    Threads may add and clear them; one finds out what a call suffers.
    """

    def __init__(self) -> None:
        self._rules: list[tuple[Fault, Iterator[bool]]] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        passing = itertools.repeat(False, fault.skip)
        suffering = (
            itertools.repeat(True)
            if fault.times is None
            else itertools.repeat(True, fault.times)
        )
        self._rules.append((fault, itertools.chain(passing, suffering)))

    def clear(self) -> None:
        """Lift all faults."""
        self._rules.clear()

    def strike(self, call: Call) -> Fault | None:
        """The fault that a call suffers: the oldest that matches."""
        for fault, turns in self._rules.copy():
            if fault.matches(call) and next(turns, False):
                return fault
        return None
