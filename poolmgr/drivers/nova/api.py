"""Calls of the cloud's services.

They are plain calls on the SDK's proxies: its resource objects cost many times
the JSON they are made from, and its cloud layer does more than it is asked.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from poolmgr.drivers.gate import Gate
from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.failures import TooMany, Unavailable
from poolmgr.drivers.nova.login import Login
from poolmgr.drivers.turns import Turns
from poolmgr.errors import CloudRefused, DeadlineExceeded
from poolmgr.text import one_line
from poolmgr.waiting import Deadline, backoff

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.proxy import Proxy
    from requests import Response

LOG = logging.getLogger(__name__)

T = TypeVar("T")
Service = Literal["compute", "network", "image"]
Params = Mapping[str, Any]

#: Nova's microversion that is asked for: the newest whose answers are known.
WANTED_MICROVERSION = (2, 79)
#: Longest body that is read, in bytes: a page of 1000 servers has 5 MB.
_LONGEST_ANSWER = 64 * 1024 * 1024
#: The oldest that will do: since then a server has its tags from birth.
#: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html
NEEDED_MICROVERSION = (2, 52)


@dataclass(frozen=True)
class Call:
    """A call of a service.

    :ivar expects: the field that the answer has to have: what stands between
        us and the cloud may answer 200 and mean nothing
    :ivar once: whether it must not be repeated when nobody knows if it took
        effect, as what creates something must not
    """

    method: str
    service: Service
    path: str
    params: Params | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    expects: str | None = None
    once: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Api:
    """The services of a cloud.

    :param connection: how to get there; no call has been made yet
    :param gate: says when a call may begin
    :param call_timeout: seconds that one call may take
    """

    def __init__(
        self,
        connection: "Connection",
        gate: Gate,
        call_timeout: float,
    ) -> None:
        self._connection = connection
        self._gate = gate
        self._call_timeout = call_timeout
        self._closed = False
        self._login = Login(connection.session)
        self._turns = Turns()
        self._proxies: dict[Service, Proxy] = {}
        self._microversion: str | None = None

    def get(
        self,
        service: Service,
        path: str,
        deadline: Deadline,
        params: Params | None = None,
        expects: str | None = None,
    ) -> dict[str, Any]:
        """Read something; see :meth:`run`."""
        call = Call("GET", service, path, params, expects=expects)
        return self.run(call, deadline)

    def pages(self, call: Call, deadline: Deadline) -> Iterator[Any]:
        """The entries of a list, page by page; see :meth:`run`."""
        key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
        query = dict(call.params or {})
        seen: set[str] = set()
        while True:
            page = replace(call, params=query, expects=key)
            answer = self.run(page, deadline)
            entries = answer[key]
            yield from entries
            if not entries or f"{key}_links" not in answer:
                return
            # Where the links lead does not matter: only that there is more.
            with failures.understood(call):
                query["marker"] = str(entries[-1]["id"])
            if query["marker"] in seen:
                raise Unavailable(f"the answers to {call} have no end")
            seen.add(query["marker"])

    def run(self, call: Call, deadline: Deadline) -> dict[str, Any]:
        """Make a call; the JSON of its answer, {} if it has none.

        A call that the cloud had no room for is made again, after the time
        that the cloud asked for.  So is one that failed inside the cloud or
        on its way, unless it is to be made once.

        :raises Refused: the cloud says no
        :raises Unavailable: it had not worked when the time was up
        :raises DeadlineExceeded: its turn did not come in time
        :raises Stopped: the wait was called off
        """
        return self._insist(
            lambda: self._run_once(call, deadline), call, deadline, call.once
        )

    def project_id(self, deadline: Deadline) -> str:
        """The project whose things are ours; raises as :meth:`run` does."""

        def ask() -> str:
            session = self._proxy("compute", deadline).session
            with failures.named("asking for the project"):
                self._login.ensure(deadline)
                return str(session.get_project_id() or "")

        return self._insist(ask, "asking for the project", deadline)

    def _insist(
        self,
        ask: Callable[[], T],
        doing: object,
        deadline: Deadline,
        once: bool = False,
    ) -> T:
        """Ask until there is an answer, yes or no, or the time is up."""
        pauses = backoff(0.25, 10.0)
        failed: Unavailable | None = None
        for attempt in count(1):
            if self._closed:
                raise Unavailable(f"{doing}: the driver is closed")
            try:
                return self._asked(ask)
            except DeadlineExceeded:
                if failed is not None:
                    raise failed from None
                raise
            except Unavailable as error:
                failed = error
                if once and not isinstance(error, TooMany):
                    raise
                pause = max(next(pauses), error.retry_after)
                if pause >= deadline.remaining():
                    raise
                # Once is nothing; who waits for long wants to know why.
                level = logging.WARNING if attempt == 3 else logging.INFO
                LOG.log(level, "%s; again in %.1f s", error, pause)
            deadline.sleep(pause, str(doing))
        raise AssertionError("it is asked until this is left")

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        finally:
            if self._closed:
                # Meanwhile; what was opened since then is closed here.
                self._connection.close()

    def close(self) -> None:
        """Let the connections go; calls from now on fail."""
        self._closed = True
        self._connection.close()

    def _run_once(self, call: Call, deadline: Deadline) -> dict[str, Any]:
        with self._gate.passing(deadline, str(call)):
            started = time.monotonic()
            with failures.named(str(call)):
                response = self._send(call, deadline)
                try:
                    end = started + self._timeout(deadline)
                    text = _text(response, end)
                finally:
                    response.close()
            took = time.monotonic() - started
        LOG.debug("%s: %d in %.3f s", call, response.status_code, took)
        if response.status_code >= 400:
            raise failures.of_answer(
                str(call),
                call.service,
                response.status_code,
                response.headers,
                text,
                call.once,
            )
        return _parsed(call, text)

    def _send(self, call: Call, deadline: Deadline) -> "Response":
        self._login.ensure(deadline)
        response = self._send_once(call, deadline)
        if response.status_code != 401:
            return response
        refused = response.request.headers.get("X-Auth-Token")
        try:
            if not self._login.renew(_text_of(refused), deadline):
                return response
        except BaseException:
            response.close()
            raise
        response.close()
        return self._send_once(call, deadline)

    def _send_once(self, call: Call, deadline: Deadline) -> "Response":
        from keystoneauth1.adapter import Adapter

        proxy = self._proxy(call.service, deadline)
        deadline.check(str(call))
        options: dict[str, Any] = {}
        if call.service == "compute":
            options["microversion"] = self._microversion
        if call.body is not None:
            options["json"] = call.body
        # The adapter's own request(): the proxy's keeps statistics that have
        # ids in their names.  No retries, for they would repeat a POST; no
        # log, for it would have the bodies.
        return Adapter.request(
            proxy,
            call.path,
            call.method,
            params=dict(call.params or {}),
            headers={"Accept": "application/json", **(call.headers or {})},
            timeout=self._timeout(deadline),
            raise_exc=False,
            allow_reauth=False,
            connect_retries=0,
            status_code_retries=0,
            log=False,
            stream=True,
            **options,
        )

    def _timeout(self, deadline: Deadline) -> float:
        return max(0.05, min(self._call_timeout, deadline.remaining()))

    def _proxy(self, service: Service, deadline: Deadline) -> "Proxy":
        """A service's proxy, made once: threads at once would make many."""
        proxy = self._proxies.get(service)
        if proxy is not None:
            return proxy
        doing = f"looking for the service {service}"
        with self._turns.of("the connection", deadline), failures.named(doing):
            if service not in self._proxies:
                deadline.check("connecting to the cloud")
                made = _made(self._connection, service)
                if service == "compute":
                    self._microversion = _microversion(made)
                self._proxies[service] = made
            return self._proxies[service]


def _text_of(header: str | bytes | None) -> str | None:
    return header.decode() if isinstance(header, bytes) else header


def _made(connection: "Connection", service: Service) -> "Proxy":
    proxy: Proxy = getattr(connection, service)
    if not hasattr(proxy, "get_endpoint_data"):
        raise CloudRefused(
            f"the cloud's catalog has no service {service!r} in the region "
            f"{connection.config.get_region_name(service)!r}"
        )
    return proxy


def _microversion(compute: "Proxy") -> str:
    """The microversion to speak with Nova.

    :raises CloudRefused: Nova is too old
    """
    data = compute.get_endpoint_data()
    newest = data.max_microversion if data is not None else None
    version = min(newest or WANTED_MICROVERSION, WANTED_MICROVERSION)
    if version < NEEDED_MICROVERSION:
        raise CloudRefused(
            f"Nova's newest microversion is {_dotted(version)}; poolmgr needs "
            f"{_dotted(NEEDED_MICROVERSION)} (the release Pike) or newer"
        )
    return _dotted(version)


def _dotted(version: tuple[float, ...]) -> str:
    return ".".join(map(str, version))


def _text(response: "Response", end: float) -> str:
    """The body, if it is there in time however slowly it comes.

    :param end: when it has to be there, monotonic
    """
    pieces: list[bytes] = []
    left = _LONGEST_ANSWER
    while piece := response.raw.read1(65536, decode_content=True):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise Unavailable("the answer is too long")
        if time.monotonic() > end:
            raise Unavailable("the answer came too slowly")
    if not pieces and response.headers.get("Content-Length", "0") != "0":
        raise Unavailable("the answer broke off")
    return b"".join(pieces).decode("utf-8", "replace")


def _parsed(call: Call, text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        # A page may say why; JSON that broke off may have secrets in it.
        page = f": {one_line(text, 60)!r}" if text.startswith("<") else ""
        raise Unavailable(f"the answer to {call} is no JSON object{page}")
    expected = call.expects and answer.get(call.expects)
    if call.expects and not isinstance(expected, (dict, list)):
        raise Unavailable(f"the answer to {call} has no {call.expects!r}")
    return answer
