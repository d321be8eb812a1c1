"""Tests of logins that Keystone refuses."""

import logging
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import ask
from tests.clouds import nova_group
from tests.jobservers import builtin
from tests.nova.pools import FAST, Pool, Pools, error_of
from tests.processes import Process

REFUSED = Fault(service="identity", method="POST", status=401, times=None)


def logins(pool: Pool) -> int:
    """Return the number of attempts to log in."""
    return pool.cloud.count("POST", "identity")


def test_jobs_share_one_refused_login(pool: Pool) -> None:
    device = pool.build()
    pool.cloud.expire_tokens()
    pool.cloud.forget_calls()
    pool.fault(REFUSED)

    for _round in range(2):
        jobs = [pool.submit("BUILD_DEVICE") for _job in range(6)]
        for job in jobs:
            error = error_of(job.future.result().answer)
            assert error["code"] == "authentication_failed"
            assert "refuses the login" in error["message"]
    pool.fails("DELETE_DEVICE", "authentication_failed", name=device["name"])

    assert logins(pool) == 1


def test_a_refused_login_is_logged_once_per_job(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.fault(REFUSED)

    pool.fails("BUILD_IP", "authentication_failed")

    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    circuit, outcome = [record.getMessage() for record in warnings]
    assert circuit.startswith("circuit open: logging in: ")
    assert "outcome=FAIL" in outcome
    assert "reason=the cloud refuses the login" in outcome


def test_a_refused_login_is_tried_again_after_a_pause(
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
        raise AssertionError("the login is never tried again")

    pool.build()
    assert logins(pool) == 2


def test_a_service_that_refuses_new_tokens_costs_one_login(pool: Pool) -> None:
    pool.build_ip()
    pool.cloud.forget_calls()
    pool.fault(Fault(service="network", status=401, times=None))

    for _job in range(6):
        pool.fails("BUILD_IP", "authentication_failed")
    assert logins(pool) == 1

    # As a reload of the configuration does; or a pause of some seconds.
    pool.cloud.clear_faults()
    pool.hint(pool.breaker("login"))
    pool.build_ip()


def test_a_reload_makes_a_worker_log_in_again(tmp_path: Path) -> None:
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
            refused = ask(server.address, build)
            assert error_of(refused)["code"] == "authentication_failed"
            cloud.clear_faults()

            process.signal(signal.SIGHUP)
            process.wait_for("configuration reloaded")
            answer = ask(server.address, build)
        finally:
            process.end()

    assert answer["response"] == "PASS", process.lines
