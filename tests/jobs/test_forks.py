"""Tests of programs that use the library and fork."""

import subprocess
import sys
import textwrap

import pytest

#: Helpers of the tested programs. A child that hangs ends itself.
PREAMBLE = """
import faulthandler, os, threading
from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import Forked

def in_child(work):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(240, exit=True)
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print("child:", repr(error), flush=True)
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0

def require_build(manager):
    assert manager.run({"action": "BUILD_DEVICE"})["response"] == "PASS"

def require_refusals(manager):
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

def use_own_manager():
    with PoolManager("fake") as own:
        require_build(own)
"""


def run(script: str) -> None:
    """Run a program; fail unless it succeeds."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
def test_a_manager_raises_in_the_child_of_a_fork(
    used: bool,
) -> None:
    run(f"""
        manager = PoolManager("fake")
        if {used}:
            require_build(manager)

        in_child(lambda: require_refusals(manager))
        in_child(use_own_manager)

        require_build(manager)
        manager.close()
        """)


def test_a_fork_during_jobs_hangs_neither_process() -> None:
    run("""
        manager = PoolManager("fake")
        done = threading.Event()

        def build_and_delete():
            while not done.is_set():
                name = manager.execute("BUILD_DEVICE")["name"]
                manager.execute("DELETE_DEVICE", name=name)

        threads = [
            threading.Thread(target=build_and_delete) for _ in range(4)
        ]
        for thread in threads:
            thread.start()

        def fork():
            for _ in range(5):
                in_child(lambda: require_refusals(manager))
                in_child(use_own_manager)

        fork()
        other = threading.Thread(target=fork)
        other.start()
        other.join()
        done.set()
        for thread in threads:
            thread.join()
        manager.close()
        """)


def test_a_fork_during_an_import_hangs_neither_process() -> None:
    run("""
        import sys, time

        class SlowFinder:
            def find_spec(self, name, path=None, target=None):
                if name == "poolmgr.actions.build_device":
                    importing.set()
                    # The fork happens meanwhile.
                    time.sleep(0.5)

        importing = threading.Event()
        sys.meta_path.insert(0, SlowFinder())
        manager = PoolManager("fake")
        building = threading.Thread(target=lambda: require_build(manager))
        building.start()
        importing.wait()
        in_child(use_own_manager)
        building.join()
        manager.close()
        """)


def test_the_future_of_a_job_of_the_parent_raises_in_the_child() -> None:
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


def test_a_driver_of_the_parent_is_refused_in_the_child() -> None:
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
            require_build(manager)
        """)


def test_multiprocessing_passes_the_fork_error_on_to_the_parent() -> None:
    run("""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        manager = PoolManager("fake")
        require_build(manager)

        def build_ip():
            return manager.run({"action": "BUILD_IP"})

        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, context) as pool:
            assert isinstance(pool.submit(build_ip).exception(240), Forked)
        require_build(manager)
        """)
