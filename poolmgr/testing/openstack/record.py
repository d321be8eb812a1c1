"""The record of every call."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass
class Call:
    """One call.

    :ivar when: monotonic seconds at which it came in
    :ivar service: "compute", "network", "image" or "identity"
    :ivar method: "GET"
    :ivar path: without the service's prefix: "/servers/detail"
    :ivar query: its parameters; the values of one that is there several
        times are joined with commas
    :ivar headers: of the request's headers User-Agent, If-Match,
        X-OpenStack-Request-Id and OpenStack-API-Version those that are there
    :ivar body: its JSON, parsed; None without
    :ivar status: HTTP status of the answer; None when none was sent (yet)
    """

    when: float
    service: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int | None = None

    def matches(
        self, method: str | None, service: str | None, path: str | None
    ) -> bool:
        """Whether it has this method, service and path; None is any.

        :param path: regular expression that has to match the whole path
        """
        return (
            method in (None, self.method)
            and service in (None, self.service)
            and (path is None or re.fullmatch(path, self.path) is not None)
        )


class Record:
    """The calls, the oldest first.

    Threads may share it: a list is appended to, copied and cleared in one
    step.
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Write down a call that came in."""
        self._calls.append(call)

    def calls(self) -> list[Call]:
        """A copy of all."""
        return [replace(call) for call in self._calls.copy()]

    def count(
        self,
        method: str | None = None,
        service: str | None = None,
        path: str | None = None,
    ) -> int:
        """How many calls there were; see :meth:`Call.matches`."""
        calls = self._calls.copy()
        return sum(call.matches(method, service, path) for call in calls)

    def counts(self) -> dict[str, int]:
        """How many calls there were, by "compute POST 202" and so on."""
        return Counter(
            f"{call.service} {call.method} {call.status or '-'}"
            for call in self._calls.copy()
        )

    def forget(self) -> None:
        """Remove all calls."""
        self._calls.clear()
