"""A login that Keystone refuses is not repeated job by job."""

import logging
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.asking import asked
from tests.clouds import nova_group
from tests.jobservers import builtin
from tests.nova.pools import FAST, Pool, Pools, error_of
from tests.processes import Process

REFUSED = Fault(service="identity", method="POST", status=401, times=None)


def logins(pool: Pool) -> int:
    """How often somebody has tried to log in."""
    return pool.cloud.count("POST", "identity")


def test_jobs_are_told_at_once_and_cost_no_login_each(pool: Pool) -> None:
    device = pool.build()
    pool.cloud.expire_tokens()
    pool.cloud.forget_calls()
    pool.fault(REFUSED)

    for _two in range(2):
        jobs = [pool.submit("BUILD_DEVICE") for _six in range(6)]
        for job in jobs:
            error = error_of(job.future.result().answer)
            assert error["code"] == "authentication_failed"
            assert "refuses the login" in error["message"]
    pool.fails("DELETE_DEVICE", "authentication_failed", name=device["name"])

    assert logins(pool) == 1


def test_the_log_says_it_once_a_job(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.fault(REFUSED)

    pool.fails("BUILD_IP", "authentication_failed")

    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    circuit, line = [record.getMessage() for record in warnings]
    assert circuit.startswith("circuit open: logging in: ")
    assert "outcome=FAIL" in line
    assert "reason=the cloud refuses the login" in line


def test_the_login_is_tried_again_after_a_while(
    pools: Pools,
) -> None:
    pool = pools.new(pace=replace(FAST, login=(0.05, 300.0)))
    pool.fault(REFUSED)
    pool.fails("BUILD_IP", "authentication_failed")
    pool.cloud.clear_faults()

    pause = threading.Event()
    for _attempt in range(200):
        if pool.run("BUILD_IP")["response"] == "PASS":
            break
        pause.wait(0.05)
    else:
        raise AssertionError("it is never tried again")

    pool.build()
    assert logins(pool) == 2


def test_a_service_that_refuses_new_tokens_costs_few(pool: Pool) -> None:
    pool.ip()
    pool.cloud.forget_calls()
    pool.fault(Fault(service="network", status=401, times=None))

    for _six in range(6):
        pool.fails("BUILD_IP", "authentication_failed")
    assert logins(pool) == 1

    # A reload of the configuration does this, or some seconds.
    pool.cloud.clear_faults()
    pool.hint(pool.breaker("login"))
    pool.ip()


def test_a_reload_has_a_worker_try_the_login_again(tmp_path: Path) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
        path = tmp_path / "poolmgr.conf"
        path.write_text(nova_group("loopback"))
        process = Process(
            ["--config-file", str(path), "--gearman-server"]
            + [str(server.address), "worker"],
            OS_CLIENT_CONFIG_FILE=str(clouds),
            OS_POOLMGR__EXPLAIN_FAILURES="true",
        )
        try:
            process.wait_for("connected and registered")
            cloud.expire_tokens()
            cloud.fault(REFUSED)
            build = {"action": "BUILD_IP"}
            (refused,) = asked(server.address, build)()
            assert error_of(refused)["code"] == "authentication_failed"
            cloud.clear_faults()

            process.signal(signal.SIGHUP)
            process.wait_for("configuration reloaded")
            (answer,) = asked(server.address, build)()
        finally:
            process.end()

    assert answer["response"] == "PASS", process.lines
