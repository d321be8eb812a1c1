"""The record of every call."""

import re
import threading
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


class Record:
    """The calls, the oldest first. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Write down a call that came in."""
        with self._lock:
            self._calls.append(call)

    def calls(self) -> list[Call]:
        """A copy of all."""
        with self._lock:
            return [replace(call) for call in self._calls]

    def count(
        self,
        method: str | None = None,
        service: str | None = None,
        path: str | None = None,
    ) -> int:
        """How many calls there were.

        :param path: regular expression that has to match the whole path
        """
        pattern = re.compile(path or ".*")
        with self._lock:
            return sum(
                method in (None, call.method)
                and service in (None, call.service)
                and pattern.fullmatch(call.path) is not None
                for call in self._calls
            )

    def counts(self) -> dict[str, int]:
        """How many calls there were, by "compute POST 202" and so on."""
        with self._lock:
            return Counter(
                f"{call.service} {call.method} {call.status or '-'}"
                for call in self._calls
            )

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._calls.clear()
