"""Tests of poolmgr as a library, blocking and async."""

import asyncio
import importlib.metadata
import os
import pydoc
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

import poolmgr
from poolmgr import AsyncPoolManager, PoolManager, PoolSettings, errors
from poolmgr.actions.base import Action, BlockingContext, NoFields
from poolmgr.cloud import Pace, open_cloud
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.events import EndedJob, Observer
from tests.polling import until

BUILD = {"action": "BUILD_DEVICE"}
SOON = 60.0


def python(program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program that uses the library."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# -- public names and output ------------------------------------------------


def test_the_package_documents_its_public_names() -> None:
    assert {*poolmgr.__all__} <= {*dir(poolmgr)}
    assert poolmgr.__version__ == importlib.metadata.version("poolmgr")
    text = pydoc.plain(pydoc.render_doc(poolmgr))
    for name in poolmgr.__all__:
        assert getattr(poolmgr, name) is not None
        assert name in text or name == "__version__"
    with pytest.raises(AttributeError, match="'nothing'"):
        poolmgr.nothing  # noqa: B018 - it raises


def test_importing_poolmgr_imports_no_heavy_modules() -> None:
    done = python("""
        import sys, poolmgr
        heavy = "asyncio openstack stevedore rich jinja2 poolmgr.jobs"
        print([name for name in heavy.split() if name in sys.modules])
        """)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_library_prints_nothing() -> None:
    done = python("""
        from poolmgr import PoolManager
        with PoolManager("fake") as manager:
            manager.run({"action": "DELETE_DEVICE", "name": "libra-none"})
            manager.submit({"action": "BUILD_DEVICE"}).undo()
        """)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- cancelling -------------------------------------------------------------


def test_a_running_job_can_be_cancelled() -> None:
    cloud = FakeCloud(FakeSettings(boot_time=3600.0))
    with PoolManager(cloud) as manager:
        delivery = manager.submit(BUILD)
        until(lambda: cloud.list_devices(SOON))

        assert delivery.cancel()

        outcome = delivery.future.result(SOON)
        assert isinstance(outcome.error, errors.Cancelled)
        assert not delivery.cancel()
    assert not cloud.list_devices(SOON)


def test_finished_and_refused_jobs_cannot_be_cancelled() -> None:
    manager = PoolManager("fake")
    done = manager.submit({"action": "BUILD_IP"})
    done.future.result(SOON)
    refused = manager.submit({"action": "NOPE"})
    manager.close()

    assert not done.cancel()
    assert not refused.cancel()


class Waiting(Action[NoFields]):
    """Sleep for an hour."""

    takes = NoFields
    answers = ()
    cleanup_time = SOON
    #: The type of the error that ended the sleep, whether it is the
    #: context's, and the number of devices afterwards.
    observed: ClassVar[list[object]] = []

    def run(
        self, request: NoFields, context: BlockingContext
    ) -> Mapping[str, str]:
        try:
            context.sleep(3600.0)
        except errors.PoolmgrError as error:
            Waiting.observed += [type(error), error is context.error]
            # Calls for the clean-up still work.
            Waiting.observed += [len(context.cloud.list_devices())]
            raise
        return {}


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("deadline", errors.DeadlineExceeded),
        ("stop", errors.Stopped),
        ("cancel", errors.Cancelled),
    ],
)
def test_sleep_in_a_blocking_action_raises_the_reason_to_end(
    how: str, kind: type[errors.PoolmgrError]
) -> None:
    Waiting.observed.clear()
    seconds = 0.2 if how == "deadline" else 3600.0
    settings = PoolSettings(short_timeout=seconds)
    with PoolManager("fake", settings, {"WAIT": Waiting}) as manager:
        delivery = manager.submit({"action": "WAIT"})
        until(manager.running)
        if how == "stop":
            manager.stop()
        elif how == "cancel":
            delivery.cancel()

        outcome = delivery.future.result(SOON)

    assert type(outcome.error) is kind
    assert Waiting.observed == [kind, True, 0]


@pytest.mark.parametrize(
    "body",
    [
        "def run(self, request, context):\n        threading.Event().wait()",
        "async def run(self, request, context):\n"
        "        while True:\n"
        "            try:\n"
        "                await asyncio.sleep(3600)\n"
        "            except asyncio.CancelledError:\n"
        "                pass",
    ],
    ids=["plain", "async"],
)
def test_an_endless_action_delays_neither_jobs_nor_the_exit(body: str) -> None:
    done = python(f"""
import asyncio, threading
from poolmgr import PoolManager, PoolSettings
from poolmgr.actions.base import Action, NoFields

class Stuck(Action[NoFields]):
    '''Never end.'''
    takes = NoFields
    timeout = 0.1

    {body}

settings = PoolSettings(explain_failures=True)
with PoolManager("fake", settings, {{"STUCK": Stuck}}) as manager:
    print(manager.run({{"action": "STUCK"}})["error"]["code"])
    print(manager.run({{"action": "BUILD_IP"}})["response"])
""")

    assert done.stdout == "deadline\nPASS\n"
    assert (done.returncode, done.stderr) == (0, "")


# -- asyncio, threads and drivers -------------------------------------------


def test_an_async_program_can_use_an_async_manager() -> None:
    async def program() -> tuple[int, str]:
        async with AsyncPoolManager("fake") as manager:
            devices = await asyncio.gather(
                *(manager.execute("BUILD_DEVICE") for _each in range(20))
            )
            with pytest.raises(errors.NotFound):
                await manager.execute("DELETE_DEVICE", name="libra-none")
            answer = await manager.run(b'{"action": "BUILD_IP"}')
        closed = await manager.run(BUILD)
        assert closed["response"] == "FAIL"
        return len({device["name"] for device in devices}), str(
            answer["response"]
        )

    threads = threading.active_count()

    assert asyncio.run(program()) == (20, "PASS")
    until(lambda: threading.active_count() <= threads)


def test_an_async_program_can_use_a_blocking_manager_in_threads() -> None:
    async def program() -> None:
        with PoolManager("fake") as manager:
            answers = await asyncio.gather(
                *(asyncio.to_thread(manager.run, BUILD) for _each in range(5))
            )
        assert {answer["response"] for answer in answers} == {"PASS"}

    asyncio.run(program())


def test_a_closed_manager_leaves_no_thread() -> None:
    threads = threading.active_count()

    with PoolManager("fake") as manager:
        manager.run(BUILD)

    until(lambda: threading.active_count() <= threads)


@pytest.mark.parametrize("given", [FakeCloud, 5, None])
def test_what_is_no_driver_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="no driver object or name: "):
        PoolManager(given)


def test_an_async_manager_is_refused_on_a_second_loop() -> None:
    manager = AsyncPoolManager("fake")
    asyncio.run(manager.execute("BUILD_IP"))

    with pytest.raises(errors.PoolmgrError, match="for each event loop"):
        asyncio.run(manager.execute("BUILD_IP"))


def test_closing_a_manager_leaves_its_given_driver_open() -> None:
    cloud = FakeCloud()

    for _twice in range(2):
        with PoolManager(cloud) as manager:
            assert manager.run(BUILD)["response"] == "PASS"

    assert len(cloud.list_devices(SOON)) == 2


# -- closing ----------------------------------------------------------------


@pytest.fixture
def slow_cloud() -> FakeCloud:
    """A cloud whose devices never boot and whose calls take a while."""
    return FakeCloud(FakeSettings(boot_time=3600.0, call_time=0.2))


def test_each_of_several_closes_waits_for_the_jobs(
    slow_cloud: FakeCloud,
) -> None:
    manager = PoolManager(slow_cloud)
    delivery = manager.submit(BUILD)
    until(lambda: slow_cloud.list_devices(SOON))

    def close(_number: int) -> bool:
        manager.close()
        return delivery.future.done()

    with ThreadPoolExecutor() as threads:
        assert all(threads.map(close, range(3)))
    assert not slow_cloud.list_devices(SOON)


def test_an_interrupted_close_can_be_continued(slow_cloud: FakeCloud) -> None:
    manager = PoolManager(slow_cloud)
    delivery = manager.submit(BUILD)
    until(lambda: slow_cloud.list_devices(SOON))
    interrupt = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    interrupt.start()

    with pytest.raises(KeyboardInterrupt):
        manager.close()
    assert not delivery.future.done()
    manager.close()

    assert delivery.future.done()
    assert not slow_cloud.list_devices(SOON)


def test_a_cloud_kept_from_before_the_close_raises() -> None:
    with PoolManager("fake") as manager:
        of_manager = manager.cloud
    with open_cloud(FakeCloud()) as opened:
        pass

    for cloud in of_manager, opened:
        with pytest.raises(errors.Closed):
            cloud.list_devices()


def test_a_driver_that_hangs_does_not_block_the_loop_that_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = threading.Event()
    monkeypatch.setattr(FakeCloud, "close", lambda _self: free.wait())

    async def program() -> None:
        manager = AsyncPoolManager("fake", pace=Pace(close=5.0))
        closing = asyncio.create_task(manager.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        free.set()
        await closing

    asyncio.run(program())


class CallingBack(Observer):
    """Uses the manager when a job has ended.

    :ivar raised: the error
    """

    def __init__(self, use: Callable[[], object]) -> None:
        self.use = use
        self.raised: Future[errors.PoolmgrError] = Future()

    def job_ended(self, ended: EndedJob) -> None:
        """Call the function."""
        try:
            self.use()
        except errors.PoolmgrError as error:
            self.raised.set_result(error)


@pytest.mark.parametrize("use", ["run", "execute", "cloud", "close"])
def test_a_callback_that_waits_for_its_manager_raises(use: str) -> None:
    uses: Mapping[str, Callable[[], object]] = {
        "run": lambda: manager.run(BUILD),
        "execute": lambda: manager.execute("BUILD_DEVICE"),
        "cloud": lambda: manager.cloud.list_devices(),
        "close": lambda: manager.close(),
    }
    observer = CallingBack(uses[use])
    with PoolManager("fake", observer=observer) as manager:
        manager.submit({"action": "BUILD_IP"})

        assert "start a thread" in str(observer.raised.result(SOON))
        assert manager.running() == []
