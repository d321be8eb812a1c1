"""Whether a worker is well, and whether it is of use."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from poolmgr.cloud.breaker import Breaker
from poolmgr.monitoring.tally import Contact, Tally
from poolmgr.text import one_line
from poolmgr.worker.state import State

#: Seconds that the event loop has to answer.
LOOP_PATIENCE = 2.0
#: Seconds that every call of a service has to fail for, so that it counts.
CLOUD_PATIENCE = 60.0
#: Seconds after which a failure says nothing of the present any more.
STALE = 300.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    :ivar good: whether it is as it should be
    :ivar what: what was looked at
    :ivar found: how it is, in words
    """

    good: bool
    what: str
    found: str

    def __str__(self) -> str:
        return f"{'ok' if self.good else 'not ok'}: {self.what}: {self.found}"


class Pulse:
    """Asks the worker's event loop for a sign of life.

    However many ask, one question is under way.

    :param call: has the worker's loop call something; False if it has none
    """

    def __init__(self, call: Callable[[Callable[[], None]], bool]) -> None:
        self._call = call
        self._asked: tuple[float, asyncio.Future[float]] | None = None

    async def check(self) -> Check:
        """Ask; belongs to the loop that asks."""
        asked = self._asked
        if asked is None or asked[1].done():
            asked = self._ask()
            if asked is None:
                return Check(False, "event loop", "is not running")
        began, sign = asked
        try:
            async with asyncio.timeout(LOOP_PATIENCE):
                took = await asyncio.shield(sign)
        except TimeoutError:
            silent = f"has not answered for {time.monotonic() - began:.1f} s"
            found = f"{silent}; SIGUSR2 has the worker say why"
            return Check(False, "event loop", found)
        return Check(True, "event loop", f"answered in {took * 1000:.1f} ms")

    def _ask(self) -> tuple[float, asyncio.Future[float]] | None:
        loop = asyncio.get_running_loop()
        sign: asyncio.Future[float] = loop.create_future()
        began = time.monotonic()

        def answered() -> None:
            took = time.monotonic() - began
            with contextlib.suppress(RuntimeError):  # nobody asks any more
                loop.call_soon_threadsafe(sign.set_result, took)

        if not self._call(answered):
            return None
        self._asked = began, sign
        return self._asked


def stuck_calls(state: State) -> Iterator[Check]:
    """Whether no call of the cloud comes back, not even with a failure."""
    overdue = state.driver.overdue
    if overdue:
        found = (
            f"none has come back from the cloud for {overdue:.0f} s longer "
            "than one may take; SIGUSR2 has the worker say why"
        )
        yield Check(False, "calls", found)


def readiness(state: State, tally: Tally) -> Iterator[Check]:
    """Whether jobs that came now would be done."""
    yield _draining(state)
    yield _links(state)
    yield _cloud(state, tally)
    yield _capacity(state)


def _draining(state: State) -> Check:
    draining = state.service.draining
    found = "drains: it takes no more jobs" if draining else "takes jobs"
    return Check(not draining, "worker", found)


def _links(state: State) -> Check:
    links = state.links
    up = sum(link.state == "up" for link in links)
    found = f"registered with {up} of {len(links)}"
    if not up:
        reasons = {str(x.address): x.last_error for x in links if x.last_error}
        found += "".join(f"; {where}: {why}" for where, why in reasons.items())
    return Check(up > 0, "job servers", found)


def _cloud(state: State, tally: Tally) -> Check:
    now = tally.now()
    contacts = tally.contacts
    silent = [
        f"{service} has failed for {contact.lasted:.0f} s"
        for service, contact in contacts.items()
        if _is_silent(contact, now)
    ]
    if state.cloud_is_down:
        silent.append("no device can be made at present")
    silent += _open_circuits(state.driver.breakers)
    if silent:
        return Check(False, "cloud", "; ".join(silent))
    if not contacts:
        return Check(True, "cloud", "no call was reported so far")
    return Check(True, "cloud", "answers, as far as it was asked")


def _capacity(state: State) -> Check:
    full = _open_circuits(state.capacity)
    found = "; ".join(full) or "no quota is known to be used up"
    return Check(not full, "capacity", found)


def _open_circuits(breakers: Mapping[str, Breaker]) -> list[str]:
    """Why attempts are held back, for each kind that fails.

    A circuit stays open until an attempt succeeds, however long ago the last
    one was: nothing better is known.
    """
    return [
        f"circuit open for {name}: {one_line(breaker.reason)}"
        for name, breaker in breakers.items()
        if breaker.open
    ]


def _is_silent(contact: Contact, now: float) -> bool:
    return contact.lasted > CLOUD_PATIENCE and now - contact.failed < STALE
