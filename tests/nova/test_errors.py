"""Tests of error codes and messages, and of secrets in logs."""

import argparse
import json
import logging
import time
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from poolmgr.cli.logs import adjust
from poolmgr.drivers.nova import calls
from poolmgr.errors import OutcomeUnknown
from poolmgr.testing.openstack import Fault
from tests.nova.pools import DETAILS, IPS, SERVERS, Pools, error_of

QUOTA = "Quota exceeded for instances: Requested 1, but already used 2 of 2"


def nova_error(status: int, kind: str, message: str) -> Fault:
    """Return Nova's error in answer to POST /servers."""
    body = {kind: {"code": status, "message": message}}
    return Fault("POST", SERVERS, status=status, body=body, times=None)


def neutron_error(
    status: int, kind: str, message: str = "message of Neutron"
) -> Fault:
    """Return Neutron's error in answer to POST /floatingips."""
    error = {"type": kind, "message": message, "detail": ""}
    body = {"NeutronError": error}
    return Fault("POST", IPS, status=status, body=body, times=None)


@pytest.mark.parametrize(
    ("action", "fault", "code", "retryable", "words"),
    [
        (
            "BUILD_DEVICE",
            nova_error(400, "badRequest", "Invalid imageRef provided."),
            "cloud_refused",
            False,
            "Invalid imageRef provided.",
        ),
        (
            "BUILD_DEVICE",
            nova_error(403, "forbidden", QUOTA),
            "quota_exceeded",
            True,
            QUOTA,
        ),
        (
            "BUILD_DEVICE",
            nova_error(
                403, "forbidden", "Policy doesn't allow servers:create."
            ),
            "cloud_refused",
            False,
            "Policy doesn't allow",
        ),
        (
            "BUILD_DEVICE",
            nova_error(
                409, "conflictingRequest", "Multiple possible networks."
            ),
            "cloud_refused",
            False,
            "Multiple possible networks",
        ),
        (
            "BUILD_DEVICE",
            nova_error(413, "overLimit", "Too many requests."),
            "cloud_unavailable",
            True,
            "Too many requests",
        ),
        (
            "BUILD_IP",
            neutron_error(409, "OverQuota"),
            "quota_exceeded",
            True,
            "message of Neutron",
        ),
        (
            "BUILD_IP",
            neutron_error(409, "IpAddressGenerationFailure"),
            "quota_exceeded",
            True,
            "message of Neutron",
        ),
        (
            "BUILD_IP",
            neutron_error(400, "ExternalIpAddressExhausted"),
            "quota_exceeded",
            True,
            "message of Neutron",
        ),
        (
            "BUILD_IP",
            neutron_error(503, "IpAddressGenerationFailureAllSubnets"),
            "quota_exceeded",
            True,
            "message of Neutron",
        ),
        (
            "BUILD_IP",
            neutron_error(
                400, "HTTPBadRequest", "exceeds maximum length of 255."
            ),
            "cloud_refused",
            False,
            "maximum length",
        ),
        (
            "BUILD_DEVICE",
            nova_error(
                400, "badRequest", "No more IP addresses available on net."
            ),
            "quota_exceeded",
            True,
            "No more IP addresses",
        ),
        (
            "BUILD_DEVICE",
            nova_error(
                413, "overLimit", "Quota exceeded for cores: 2 of 2 used"
            ),
            "quota_exceeded",
            True,
            "Quota exceeded for cores",
        ),
        (
            "BUILD_DEVICE",
            nova_error(
                429, "overLimit", "Quota exceeded for requests: 5 a minute"
            ),
            "cloud_unavailable",
            True,
            "5 a minute",
        ),
        *(
            (
                "BUILD_DEVICE",
                nova_error(status, "x", message),
                "quota_exceeded",
                True,
                message,
            )
            for status, message in (
                (403, "Project 5d is over a limit for [servers]"),
                (409, "No more IP addresses available on network n."),
                (400, "Fixed IP addresses are exhausted"),
                (403, "Zero fixed ips available."),
            )
        ),
        (
            "BUILD_IP",
            neutron_error(409, "SomethingElse"),
            "cloud_refused",
            False,
            "message of Neutron",
        ),
        (
            "BUILD_IP",
            neutron_error(412, "RevisionNumberConstraintFailed"),
            "changed",
            True,
            "somebody else changed it meanwhile",
        ),
        (
            "BUILD_IP",
            Fault(service="network", status=401, times=None),
            "authentication_failed",
            False,
            "401",
        ),
    ],
)
def test_errors_of_the_cloud_have_error_codes(
    pools: Pools,
    action: str,
    fault: Fault,
    code: str,
    retryable: bool,
    words: str,
) -> None:
    pool = pools.new(long_timeout=2.0, short_timeout=2.0)
    pool.fault(fault)

    error = error_of(pool.run(action))

    assert (error["code"], error["retryable"]) == (code, retryable)
    assert words in error["message"]
    assert "\n" not in error["message"]
    assert pool.cloud.servers == []
    assert pool.cloud.floating_ips == []


@pytest.mark.parametrize(
    "effect",
    [
        {"status": 500},
        {"status": 503},
        {"status": 429},
        {"html": True},
        {"reset": True},
        {"truncate": True},
        {"drip": 0.05},
        {"hang": 60.0},
    ],
    ids=lambda effect: next(iter(effect)) + str(effect.get("status", "")),
)
def test_retries_end_at_the_deadline(
    pools: Pools, effect: dict[str, Any]
) -> None:
    pool = pools.new(short_timeout=1.2, nova={"call_timeout": 0.4})
    pool.fault(Fault(method="GET", path=IPS, times=None, **effect))
    started = time.monotonic()

    error = error_of(pool.run("DELETE_IP", ip="198.18.0.7"))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert error["retryable"] is True
    # Any other message names the failed call.
    assert error["code"] == "deadline" or "/floatingips" in error["message"]
    assert time.monotonic() - started < 30.0


def test_an_html_page_becomes_one_short_line(pools: Pools) -> None:
    pool = pools.new(short_timeout=2.0)
    page = f"<html><h1>Bad Gateway</h1>\n<p>{'very ' * 500}</p></html>"
    pool.fault(Fault(path=IPS, status=502, body=page, times=None))

    message = error_of(pool.run("BUILD_IP"))["message"]

    assert "Bad Gateway" in message
    assert len(message) < 600
    assert "\n" not in message


def test_a_page_that_is_no_html_is_read_in_linear_time(pools: Pools) -> None:
    pool = pools.new()
    # To look for the end of a tag at each of them would take half an hour.
    page = "<" * 1_000_000
    pool.fault(Fault("POST", IPS, status=403, body=page, times=None))

    assert "<<<" in pool.fails("BUILD_IP", "cloud_refused")


def test_an_answer_cut_off_within_a_chunk_is_an_unknown_outcome() -> None:
    """http.client raises its error while it handles a ValueError."""
    call = calls.ApiCall("POST", "compute", SERVERS)
    with pytest.raises(IncompleteRead) as caught:
        try:
            int(b"", 16)
        except ValueError:
            raise IncompleteRead(b"")  # noqa: B904

    error = calls.error_of(call, caught.value, "http://nova.example")

    assert isinstance(error, OutcomeUnknown)


SECRET = "planted-secret"


def test_logs_contain_no_secrets(
    pools: Pools, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "user-data"
    data.write_text(f"#!/bin/sh\nPASSWORD={SECRET}\n")
    options = argparse.Namespace(
        debug=True, verbose_level=3, log_format=None, log_config_append=None
    )
    before = {
        name: logging.getLogger(name).level
        for name in ("openstack", "urllib3", "stevedore", "keystoneauth")
    }
    root = logging.getLogger()
    before_root = root.level
    try:
        adjust(options, service=True)
        pool = pools.new(nova={"user_data": str(data), "console_lines": 5})
        device = pool.build()
        pool.passes("DELETE_DEVICE", name=device["name"])
        pool.cloud.expire_tokens()
        pool.fault(Fault(path=DETAILS, status=500))
        pool.fault(Fault.server_error())
        pool.run("BUILD_DEVICE")
        wrong = pools.new(pool.cloud, nova={"password": SECRET})
        wrong.fails("BUILD_DEVICE", "authentication_failed")
    finally:
        root.setLevel(before_root)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

    passwords = [pool.cloud.credentials["password"], SECRET]
    posts = pool.calls("POST", SERVERS)
    encoded = posts[0].body["server"]["user_data"]
    tokens = json.dumps([call.headers for call in pool.cloud.calls])
    assert caplog.records
    assert "gAAAA" not in tokens  # The loopback cloud keeps none either.
    for record in caplog.records:
        text = f"{record.getMessage()} {record.exc_text or ''}"
        for secret in (*passwords, encoded, "adminPass", "gAAAAAB"):
            assert f"'{secret}'" not in text
            assert f'"{secret}"' not in text
        assert SECRET not in text
        assert encoded not in text
        assert "gAAAAAB" not in text


@pytest.mark.parametrize(
    "missing", [None, {}, {"message": ""}, {"message": None}]
)
def test_a_fault_shown_only_by_the_single_server_is_reported(
    pools: Pools, missing: object
) -> None:
    pool = pools.new()
    pool.fault(Fault.server_error("No valid host was found."))

    def without_faults(listed: Any) -> Any:
        servers = [{**s, "fault": missing} for s in listed["servers"]]
        return {**listed, "servers": servers}

    pool.fault(Fault("GET", DETAILS, change=without_faults, times=None))

    error = error_of(pool.run("BUILD_DEVICE"))

    assert error["code"] == "device_failed"
    assert "No valid host was found." in error["message"]
