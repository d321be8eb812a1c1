"""A program that uses the library and forks."""

import subprocess
import sys
import textwrap

import pytest

#: What the children do; each ends by its exit code or, if it hangs, by a
#: signal of its own.
PREAMBLE = """
import faulthandler, os, threading
from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import Forked

def in_child(work):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(60, exit=True)
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print("child:", repr(error), flush=True)
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0

def builds(manager):
    assert manager.run({"action": "BUILD_DEVICE"})["response"] == "PASS"

def is_refused(manager):
    for use in (
        lambda: manager.run({"action": "BUILD_IP"}),
        lambda: manager.execute("BUILD_IP"),
        lambda: manager.submit({"action": "BUILD_IP"}),
        manager.running,
        manager.stop,
    ):
        try:
            use()
        except Forked as error:
            assert "fork" in str(error) and not error.retryable
        else:
            raise AssertionError("not refused")
    manager.close()

def child_makes_its_own():
    with PoolManager("fake") as own:
        builds(own)
"""


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("used", [True, False])
def test_a_manager_is_refused_at_once_in_the_child_of_a_fork(
    used: bool,
) -> None:
    run(f"""
        manager = PoolManager("fake")
        if {used}:
            builds(manager)

        in_child(lambda: is_refused(manager))
        in_child(child_makes_its_own)

        builds(manager)
        manager.close()
        """)


def test_a_fork_in_the_middle_of_jobs_hangs_nowhere() -> None:
    run("""
        manager = PoolManager("fake")
        done = threading.Event()

        def go_on():
            while not done.is_set():
                name = manager.execute("BUILD_DEVICE")["name"]
                manager.execute("DELETE_DEVICE", name=name)

        threads = [threading.Thread(target=go_on) for _ in range(4)]
        for thread in threads:
            thread.start()

        def fork():
            for _ in range(5):
                in_child(lambda: is_refused(manager))
                in_child(child_makes_its_own)

        fork()
        other = threading.Thread(target=fork)
        other.start()
        other.join()
        done.set()
        for thread in threads:
            thread.join()
        manager.close()
        """)


def test_a_fork_while_an_action_is_imported_hangs_nowhere() -> None:
    run("""
        import sys, time

        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name == "poolmgr.actions.build_device":
                    importing.set()
                    time.sleep(0.5)  # time to fork in

        importing = threading.Event()
        sys.meta_path.insert(0, Slow())
        manager = PoolManager("fake")
        building = threading.Thread(target=lambda: builds(manager))
        building.start()
        importing.wait()
        in_child(child_makes_its_own)
        building.join()
        manager.close()
        """)


def test_what_runs_in_the_parent_is_not_waited_for_in_the_child() -> None:
    run("""
        manager = PoolManager("fake")
        submission = manager.submit({"action": "BUILD_DEVICE"})

        def use():
            try:
                submission.future
            except Forked:
                pass
            else:
                raise AssertionError("not refused")

        in_child(use)
        assert submission.future.result().answer["response"] == "PASS"
        manager.close()
        """)


def test_a_driver_is_refused_in_the_child_of_a_fork() -> None:
    run("""
        cloud = FakeCloud(FakeSettings())

        def use():
            try:
                PoolManager(cloud)
            except Forked as error:
                assert "driver" in str(error)
            else:
                raise AssertionError("not refused")

        in_child(use)
        with PoolManager(cloud) as manager:
            builds(manager)
        """)


def test_multiprocessing_hands_the_reason_to_the_parent() -> None:
    run("""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        manager = PoolManager("fake")
        builds(manager)

        def ask():
            return manager.run({"action": "BUILD_IP"})

        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, context) as pool:
            assert isinstance(pool.submit(ask).exception(60), Forked)
        builds(manager)
        """)
