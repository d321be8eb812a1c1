"""Fixtures and hooks for all tests."""

import inspect
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud
from poolmgr.settings import PoolSettings
from tests.jobservers import JobServerProcess, builtin, gearmand
from tests.virtual_time import run

# Otherwise each driver in a test would load these authorities.
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    if _bundle := os.environ.pop(_name, ""):
        os.environ.setdefault("PIP_CERT", _bundle)

# A shell's job in the background ignores SIGINT, and one of nohup SIGHUP. The
# commands that tests start would ignore them as well; they inherit no handler.
for _signal in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, lambda _number, _frame: None)

# On a busy machine an example may take long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest tests first, so that nothing waits for them at the end.

    Tests that share expensive set-up then also stay in one process.
    """

    def longest(item: pytest.Item) -> float:
        limit = item.get_closest_marker("timeout")
        return float(limit.args[0]) if limit else 0.0

    items.sort(key=longest, reverse=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test on virtual time."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = inspect.signature(test).parameters
    run(test(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    """Yield a fake cloud in memory whose devices boot at once."""
    cloud = FakeCloud()
    yield cloud
    cloud.close()


@pytest.fixture
def manager(cloud: FakeCloud) -> Iterator[PoolManager]:
    """Yield a manager of that cloud that explains failures."""
    settings = PoolSettings(
        basename="libra-stg-haproxy", az="3", explain_failures=True
    )
    with PoolManager(cloud, settings) as manager:
        yield manager


@pytest.fixture(params=["gearmand", "builtin"])
def job_server(request: pytest.FixtureRequest) -> Iterator[JobServerProcess]:
    """Yield a job server; the test runs with gearmand and the built-in one."""
    with gearmand() if request.param == "gearmand" else builtin() as server:
        yield server
