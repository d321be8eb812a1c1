"""Faults: rules that select requests and make them fail."""

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
    """A later effect on the resource; the response itself is normal.

    :ivar error: the server's status becomes ERROR with this fault message,
        after its creation or instead of its deletion
    :ivar stuck: the server stays in BUILD
    :ivar no_address: the server becomes ACTIVE without addresses
    :ivar vanish: the server disappears this many seconds after its creation
    :ivar lost: the change of a floating IP, or the deletion of a server, is
        answered but has no effect
    """

    error: str | None = None
    stuck: bool = False
    no_address: bool = False
    vanish: float | None = None
    lost: bool = False


@dataclass(frozen=True)
class Fault:
    """A rule with one effect on the requests that match.

    A request must match all of these that are set:

    :ivar method: the HTTP method, such as "POST"
    :ivar path: a regular expression for the complete path without the
        service's prefix: "/servers", "/servers/[^/]+", "/floatingips"
    :ivar service: "compute", "network", "image" or "identity"
    :ivar query: parameters of the query, with their values
    :ivar where: a function that gets the :class:`Call` and returns whether it
        matches
    :ivar skip: the number of matching requests to skip first
    :ivar times: the number of requests that fail; None for all

    Set exactly one effect:

    :ivar status: respond with this HTTP status and the service's own error,
        or ``body`` (JSON, a text, or bytes); ``headers`` and ``retry_after``
        (seconds, or a datetime to send as HTTP date) are added
    :ivar reset: reset the connection without a response
    :ivar hang: wait this many seconds, then handle the request normally, or,
        with ``drop``, close the connection
    :ivar html: respond with an HTML page and status 200, like a proxy
    :ivar truncate: send only half of the true response
    :ivar drip: send the true response byte by byte, this many seconds apart
    :ivar drip_head: send an endless header in the same way
    :ivar change: call this function with the JSON of the true response, and
        send what it returns
    :ivar fate: see :class:`Fate` and the constructors below

    :ivar after: handle the request before the effect. ``truncate``, ``drip``,
        ``drip_head``, ``change`` and ``fate`` always do.
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
            raise ValueError("'drop' needs 'hang'")
        if self.status is not None and not 100 <= self.status <= 599:
            raise ValueError(f"{self.status} is not an HTTP status")
        re.compile(self.path or "")

    @classmethod
    def server_error(
        cls, message: str = "No valid host was found. ", **rule: Any
    ) -> Self:
        """Make the new server's status ERROR at the end of its boot.

        :param message: the message of the server's fault
        :param rule: ``times``, ``skip``, ``where`` and other selectors
        """
        return cls._of_server(Fate(error=message), rule)

    @classmethod
    def stuck(cls, **rule: Any) -> Self:
        """Leave the new server in BUILD."""
        return cls._of_server(Fate(stuck=True), rule)

    @classmethod
    def no_address(cls, **rule: Any) -> Self:
        """Make the new server ACTIVE without addresses."""
        return cls._of_server(Fate(no_address=True), rule)

    @classmethod
    def vanish(cls, seconds: float, **rule: Any) -> Self:
        """Remove the new server this many seconds after its POST."""
        return cls._of_server(Fate(vanish=seconds), rule)

    @classmethod
    def lost_floating_ip(cls, **rule: Any) -> Self:
        """Answer the PUT of a floating IP with 200, without effect."""
        return cls(
            **{"method": "PUT", "path": "/floatingips/[^/]+", **rule},
            fate=Fate(lost=True),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Create a fault from its fields; ``fate`` is an object, too.

        :raises ValueError: a field or value is wrong
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
        """Return whether a call matches the rule."""
        return (
            call.matches(self.method, self.service, self.path)
            and (self.query or {}).items() <= call.query.items()
            and (self.where is None or self.where(call))
        )


class FaultRules:
    """The current faults, the oldest first; any thread may use them."""

    def __init__(self) -> None:
        self._rules: list[tuple[Fault, Iterator[bool]]] = []

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        skipped = itertools.repeat(False, fault.skip)
        struck = (
            itertools.repeat(True)
            if fault.times is None
            else itertools.repeat(True, fault.times)
        )
        self._rules.append((fault, itertools.chain(skipped, struck)))

    def clear(self) -> None:
        """Remove all faults."""
        self._rules.clear()

    def strike(self, call: Call) -> Fault | None:
        """Return the fault for a call: the oldest one that matches."""
        for fault, turns in self._rules.copy():
            if fault.matches(call) and next(turns, False):
                return fault
        return None
