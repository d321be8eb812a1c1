"""Tests of the rate limit of requests."""

import time
from concurrent.futures import ThreadPoolExecutor

from poolmgr.cloud.limiter import RateLimiter
from poolmgr.tracing import RequestContext, bound
from tests.polling import until


def test_requests_are_limited_per_second() -> None:
    limiter = RateLimiter(50.0)
    started = time.monotonic()

    # Fifty requests begin immediately, then one every 20 ms.
    for _call in range(75):
        limiter.acquire()

    assert time.monotonic() - started >= 0.45


def test_a_rate_of_zero_means_no_limit() -> None:
    limiter = RateLimiter(0.0)

    for _call in range(100_000):
        limiter.acquire()


def test_an_urgent_request_is_next() -> None:
    limiter = RateLimiter(1.0)
    limiter.acquire()
    order: list[str] = []
    requested: list[str] = []

    def request(name: str, urgent: bool) -> None:
        with bound(RequestContext(urgent=urgent)):
            requested.append(name)
            limiter.acquire()
            order.append(name)

    with ThreadPoolExecutor(4) as pool:
        for number in range(3):
            pool.submit(request, f"build {number}", False)
        until(lambda: len(requested) == 3)
        pool.submit(request, "urgent", True)

    assert len(order) == 4
    assert order.index("urgent") <= 1
