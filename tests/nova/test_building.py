"""Tests of BUILD_DEVICE."""

import json
import re
import time
from typing import Any

import pytest

from poolmgr.actions.build_device import BuildDevice
from poolmgr.testing.openstack import Fault
from tests.nova.pools import (
    BASENAME,
    DETAILS,
    ONE_SERVER,
    SERVERS,
    TIMEOUT,
    Pools,
    error_of,
)
from tests.polling import until

NEVER = 60.0


def test_the_answer_of_a_build_has_the_documented_fields(pools: Pools) -> None:
    pool = pools.new(az="3")

    answer = pool.build()

    server = pool.only_server()
    assert re.fullmatch(f"{BASENAME}-[0-9a-f-]{{36}}", str(answer["name"]))
    assert answer == {
        "action": "BUILD_DEVICE",
        "response": "PASS",
        "name": server["name"],
        "addr": server["addresses"]["private"][0]["addr"],
        "type": f"basename: {BASENAME}, image: tiny",
        "az": "3",
    }


def test_a_device_in_error_is_reported_soon_and_deleted(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    pool = pools.new(long_timeout=NEVER)
    pool.fault(Fault.server_error("No valid host was found. "))

    start = time.monotonic()
    reason = pool.fails("BUILD_DEVICE", "device_failed")

    assert time.monotonic() - start < NEVER / 4
    assert reason.endswith("No valid host was found.")
    assert "No valid host was found." in caplog.text
    assert not pool.cloud.servers


def test_the_end_of_the_console_is_answered_and_logged(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    pool = pools.new({"address_delay": NEVER}, {"console_lines": 5})
    job = pool.submit("BUILD_DEVICE")
    until(lambda: [s for s in pool.cloud.servers if s["status"] == "ACTIVE"])
    server = pool.only_server()

    pool.cloud.fail_server(server["id"], "The host went away.")

    error = error_of(job.future.result().answer)
    login = f"{server['name']} login:"
    assert f"The host went away.; its console: {login}" in error["message"]
    assert f"console of {server['name']}: {login}" in caplog.text
    assert not pool.cloud.servers


def failed_with_console(pools: Pools, console: bytes) -> str:
    """Return why a build fails, if Nova answers this to the request for the
    console."""
    pool = pools.new({"address_delay": NEVER}, {"console_lines": 5})

    def without_faults(listed: Any) -> Any:
        servers = [{**s, "fault": None} for s in listed["servers"]]
        return {**listed, "servers": servers}

    action = f"{ONE_SERVER}/action"
    pool.fault(
        Fault("POST", action, status=200, body=console, times=None),
        # Only the request for the single server shows the reason.
        Fault("GET", DETAILS, change=without_faults, times=None),
    )
    job = pool.submit("BUILD_DEVICE")
    until(lambda: [s for s in pool.cloud.servers if s["status"] == "ACTIVE"])
    pool.cloud.fail_server(pool.only_server()["id"], "The host went away.")
    error = error_of(job.future.result().answer)
    assert error["code"] == "device_failed"
    return str(error["message"])


@pytest.mark.parametrize(
    "console", [b"", b"[]", b"{}", b'{"output": 5}', b'{"output": "\xff"}']
)
def test_an_unreadable_console_does_not_hide_the_reason(
    pools: Pools, console: bytes
) -> None:
    reason = failed_with_console(pools, console)

    assert reason.endswith("The host went away.")


def test_only_the_end_of_a_longer_console_is_answered_and_logged(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    output = "".join(f"line {n}\n" for n in range(10_000))

    reason = failed_with_console(
        pools, json.dumps({"output": output}).encode()
    )

    logged = [r for r in caplog.records if "console of" in r.getMessage()]
    assert len(logged) == 5
    assert logged[-1].getMessage().endswith(": line 9999")
    assert "; its console: line 9995" in reason


def test_a_missing_console_does_not_delay_the_answer(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"console_lines": 5})
    pool.fault(Fault.server_error())

    start = time.monotonic()
    pool.fails("BUILD_DEVICE", "device_failed")

    assert time.monotonic() - start < TIMEOUT / 4
    assert not pool.cloud.servers


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault.stuck(), "it is building"),
        (Fault.no_address(), "it is active, but without an address"),
    ],
)
def test_a_device_not_ready_at_the_deadline_is_deleted(
    pools: Pools, fault: Fault, state: str
) -> None:
    pool = pools.new(long_timeout=2.0)
    pool.fault(fault)

    assert state in pool.fails("BUILD_DEVICE", "deadline")
    assert not pool.cloud.servers


def test_a_build_waits_for_the_address(pools: Pools) -> None:
    pool = pools.new({"address_delay": 0.3})

    assert str(pool.build()["addr"]).startswith("10.20.")


def test_a_build_whose_device_vanishes_fails_soon(pools: Pools) -> None:
    pool = pools.new({"boot_time": NEVER}, long_timeout=NEVER)
    pool.fault(Fault.vanish(0.2))

    start = time.monotonic()
    reason = pool.fails("BUILD_DEVICE", "device_failed")

    assert "disappeared" in reason
    assert time.monotonic() - start < NEVER / 4


@pytest.mark.parametrize("status", ["SHUTOFF", "SUSPENDED"])
def test_a_device_that_stops_during_the_build_fails(
    pools: Pools, status: str
) -> None:
    pool = pools.new({"address_delay": NEVER})
    job = pool.submit("BUILD_DEVICE")
    until(lambda: [s for s in pool.cloud.servers if s["status"] == "ACTIVE"])

    pool.cloud.set_status(pool.only_server()["id"], status)

    error = error_of(job.future.result().answer)
    assert error["code"] == "device_failed"
    assert status in error["message"]
    assert not pool.cloud.servers


def test_a_booting_device_missing_from_one_list_is_not_taken_for_deleted(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 0.5})
    empty_list = Fault(path=DETAILS, status=200, body={"servers": []}, skip=1)
    pool.fault(empty_list)

    pool.build()

    assert pool.posts() == 1


def test_a_stop_during_a_build_deletes_the_device(pools: Pools) -> None:
    pool = pools.new({"boot_time": NEVER})
    pool.fault(Fault.stuck())
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.cloud.servers)

    pool.manager.stop()

    assert error_of(job.future.result().answer)["code"] == "stopped"
    assert not pool.cloud.servers


def test_the_failure_with_an_undeletable_device_has_its_fields(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BuildDevice, "cleanup_time", 0.5)
    pool = pools.new(az="3")
    pool.fault(
        Fault.server_error(),
        Fault(method="DELETE", path=ONE_SERVER, status=500, times=None),
    )

    answer = pool.run("BUILD_DEVICE")

    server = pool.only_server()
    assert error_of(answer)["code"] == "device_not_deleted"
    assert "No valid host was found." in error_of(answer)["message"]
    del answer["error"]
    assert answer == {
        "action": "BUILD_DEVICE",
        "response": "FAIL",
        "name": server["name"],
        "addr": "",
        "type": f"basename: {BASENAME}, image: tiny",
        "az": "3",
    }
    pool.cloud.clear_faults()
    pool.passes("DELETE_DEVICE", name=server["name"])
    assert not pool.cloud.servers


@pytest.mark.parametrize("status", [409, 500, 503])
def test_a_failed_deletion_of_a_failed_device_is_retried(
    pools: Pools, status: int
) -> None:
    pool = pools.new()
    pool.fault(
        Fault.server_error(),
        Fault(method="DELETE", path=ONE_SERVER, status=status),
    )

    pool.fails("BUILD_DEVICE", "device_failed")

    assert not pool.cloud.servers


def test_a_used_up_instance_quota_is_reported_and_nothing_is_deleted(
    pools: Pools,
) -> None:
    pool = pools.new({"instances": 1})
    pool.build()

    reason = pool.fails("BUILD_DEVICE", "quota_exceeded")

    assert "Quota exceeded for instances" in reason
    assert pool.posts() == 2
    assert pool.cloud.count("DELETE") == 0


def test_a_used_up_port_quota_is_a_device_failure(
    pools: Pools,
) -> None:
    pool = pools.new({"ports": 0})

    reason = pool.fails("BUILD_DEVICE", "device_failed")

    assert "Maximum number of ports exceeded" in reason
    assert not pool.cloud.servers


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, "badRequest", "Not like this."),
        (403, "forbidden", "Policy doesn't allow servers:create."),
    ],
)
def test_a_refused_creation_is_reported_and_not_retried(
    pools: Pools, status: int, kind: str, message: str
) -> None:
    pool = pools.new()
    body = {kind: {"code": status, "message": message}}
    pool.fault(Fault("POST", SERVERS, status=status, body=body, times=None))

    assert message in pool.fails("BUILD_DEVICE", "cloud_refused")
    assert pool.posts() == 1


@pytest.mark.parametrize("name", ["tiny", "m1.nano"])
def test_a_build_is_repeated_if_its_image_or_flavor_was_replaced(
    pools: Pools, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pool = pools.new()
    pool.build()

    pool.cloud.replace(name)

    pool.build()
    assert "Nova answered 400 to POST /servers" in caplog.text
    assert "; retrying in " in caplog.text
    assert pool.posts() == 3
    assert len(pool.cloud.servers) == 2


def test_builds_alternate_between_availability_zones(pools: Pools) -> None:
    pool = pools.new(nova={"availability_zones": ("az1", "az2")})

    for _time in range(4):
        pool.build()

    zones = [s["OS-EXT-AZ:availability_zone"] for s in pool.cloud.servers]
    assert zones == ["az1", "az2", "az1", "az2"]
