"""Tests of the faults that can be injected into the loopback cloud."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure, UnknownConnectionError

from poolmgr.testing.openstack import Fate, Fault, LoopbackCloud
from tests.loopback.caller import Caller, message_of
from tests.polling import until

# keystoneauth does not translate every error of a connection that breaks
# during an answer.
BROKEN = (ConnectFailure, UnknownConnectionError, OSError)


@pytest.mark.parametrize("after", [False, True])
def test_a_status_fault_applies_before_or_after_the_effect(
    caller: Caller, after: bool
) -> None:
    fault = Fault(method="POST", path="/servers", status=500, after=after)
    caller.cloud.fault(fault)

    answer = caller.post_server()

    assert answer.status_code == 500
    assert answer.json()["computeFault"]["code"] == 500
    assert len(caller.cloud.servers) == (1 if after else 0)
    assert caller.post_server().status_code == 202


def test_a_fault_can_change_the_answer(caller: Caller) -> None:
    def without_name(answer: dict[str, Any]) -> dict[str, Any]:
        del answer["servers"][0]["name"]
        return answer

    caller.post_server()
    caller.cloud.fault(
        Fault(path="/servers", method="GET", change=without_name)
    )

    (changed,) = caller.compute("GET", "/servers").json()["servers"]
    (unchanged,) = caller.compute("GET", "/servers").json()["servers"]

    assert set(unchanged) - set(changed) == {"name"}


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_loses_the_request_or_its_answer(
    caller: Caller, after: bool
) -> None:
    caller.list_names()
    fault = Fault(method="POST", path="/servers", reset=True, after=after)
    caller.cloud.fault(fault)

    with pytest.raises(BROKEN):
        caller.post_server()

    assert len(caller.cloud.servers) == (1 if after else 0)
    assert caller.cloud.calls[-1].status is None


def test_a_hung_request_is_answered_after_its_delay(caller: Caller) -> None:
    caller.list_names()
    caller.cloud.fault(Fault(path="/servers/detail", hang=0.1))

    start = time.monotonic()

    assert caller.compute("GET", "/servers/detail").status_code == 200
    assert time.monotonic() - start >= 0.1


def test_a_hung_request_can_be_dropped(caller: Caller) -> None:
    caller.list_names()
    caller.cloud.fault(Fault(path="/servers/detail", hang=0.0, drop=True))

    with pytest.raises(BROKEN):
        caller.compute("GET", "/servers/detail")


def test_a_truncated_answer_breaks_the_connection(caller: Caller) -> None:
    caller.create_server()
    caller.cloud.fault(Fault(path="/servers/detail", truncate=True))

    with pytest.raises(BROKEN):
        caller.compute("GET", "/servers/detail")


def test_a_fault_can_answer_with_an_html_page(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/servers/detail", html=True))

    answer = caller.compute("GET", "/servers/detail")

    assert answer.status_code == 200
    assert answer.text.startswith("<html>")


def test_an_answer_can_be_sent_byte_by_byte(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/servers", drip=0.005))

    start = time.monotonic()
    answer = caller.compute("GET", "/servers")

    assert answer.json() == {"servers": []}
    assert time.monotonic() - start >= 0.005 * len(answer.content)


def test_retry_after_is_seconds_or_a_date(caller: Caller) -> None:
    date = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    for value in (3, date):
        caller.cloud.fault(
            Fault(path="/servers", status=429, retry_after=value)
        )

    answers = [caller.compute("GET", "/servers") for _twice in range(2)]

    assert [answer.headers["Retry-After"] for answer in answers] == [
        "3",
        "Wed, 02 Jan 2030 03:04:05 GMT",
    ]
    assert "overLimit" in answers[0].json()


def test_each_service_has_its_own_error_format(caller: Caller) -> None:
    for service in ("compute", "network"):
        caller.cloud.fault(Fault(service=service, path="/.+", status=503))

    assert "serviceUnavailable" in caller.compute("GET", "/servers").json()
    assert "NeutronError" in caller.network("GET", "/ports").json()


def test_faults_can_be_cleared(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/flavors", status=503, times=None))
    assert caller.compute("GET", "/flavors").status_code == 503

    caller.cloud.clear_faults()

    assert caller.compute("GET", "/flavors").status_code == 200


def test_a_fault_can_set_the_body_and_headers(caller: Caller) -> None:
    fault = Fault(
        path="/flavors",
        status=403,
        body={"x": 1},
        headers={"X-Why": "because"},
    )
    caller.cloud.fault(fault)

    answer = caller.compute("GET", "/flavors")

    assert answer.json() == {"x": 1}
    assert answer.headers["X-Why"] == "because"


def test_a_fault_skips_requests_and_affects_a_limited_number(
    caller: Caller,
) -> None:
    caller.cloud.fault(Fault(path="/servers", status=500, skip=1, times=2))

    statuses = [
        caller.compute("GET", "/servers").status_code for _ in range(5)
    ]

    assert statuses == [200, 500, 500, 200, 200]


def test_a_fault_affects_only_matching_requests(caller: Caller) -> None:
    caller.cloud.fault(
        Fault(path="/servers", query={"name": "^a$"}, status=500, times=None)
    )
    caller.cloud.fault(
        Fault(
            method="POST",
            path="/servers",
            where=lambda call: call.body["server"]["name"] == "a",
            status=503,
            times=None,
        )
    )

    def get(name: str) -> int:
        query = {"name": name}
        answer = caller.compute("GET", "/servers", params=query)
        return int(answer.status_code)

    assert (get("^a$"), get("^b$")) == (500, 200)
    assert caller.post_server("a").status_code == 503
    assert caller.post_server("b").status_code == 202


def test_a_fault_without_exactly_one_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one effect"):
        Fault(path="/servers")
    with pytest.raises(ValueError, match="status, reset"):
        Fault(status=500, reset=True)
    with pytest.raises(ValueError, match="'drop' needs 'hang'"):
        Fault(status=500, drop=True)


def test_a_boot_can_end_in_error(caller: Caller) -> None:
    caller.cloud.fault(Fault.server_error("No valid host was found. "))

    failed, other = (
        caller.get_server(caller.create_server()) for _ in range(2)
    )

    assert failed["status"] == "ERROR"
    assert failed["fault"]["message"] == "No valid host was found. "
    assert other["status"] == "ACTIVE"


def test_a_stuck_server_can_be_deleted(caller: Caller) -> None:
    caller.cloud.fault(Fault.stuck())
    server_id = caller.create_server()
    assert caller.get_server(server_id)["status"] == "BUILD"

    caller.compute("DELETE", f"/servers/{server_id}")

    until(lambda: not caller.cloud.servers)


def test_a_server_can_be_active_without_addresses(caller: Caller) -> None:
    caller.cloud.fault(Fault.no_address())

    server = caller.get_server(caller.boot_server())

    assert server["addresses"] == {}


@pytest.mark.cloud(boot_time=120)
def test_a_server_can_disappear_during_its_boot(caller: Caller) -> None:
    caller.cloud.fault(Fault.vanish(60))
    server_id = caller.create_server()
    assert caller.get_server(server_id)["status"] == "BUILD"

    caller.cloud.advance(60)

    assert not caller.cloud.servers


def test_a_change_of_a_floating_ip_can_be_lost(caller: Caller) -> None:
    port_id = caller.find_port(caller.boot_server())
    ip_id = caller.create_ip()["id"]
    caller.cloud.fault(Fault.lost_floating_ip())

    assert caller.put_ip(ip_id, port_id=port_id).status_code == 200

    assert caller.get_ip(ip_id)["port_id"] is None
    assert caller.get_ip(ip_id)["revision_number"] == 0


def test_an_active_server_can_fail(caller: Caller) -> None:
    server_id = caller.boot_server()

    caller.cloud.fail_server(server_id, "The host burned down.")

    server = caller.get_server(server_id)
    assert server["status"] == "ERROR"
    assert server["fault"]["message"] == "The host burned down."
    with pytest.raises(KeyError):
        caller.cloud.fail_server("unknown")


@pytest.mark.cloud(rate_limit=0.01)
def test_calls_above_the_rate_limit_are_refused(caller: Caller) -> None:
    first, second = (caller.compute("GET", "/flavors") for _twice in range(2))

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["Retry-After"] == "1"
    assert message_of(second) == "This request was rate-limited."


@pytest.mark.cloud(latencies={"compute": 2.0})
def test_slow_calls_run_concurrently(caller: Caller) -> None:
    caller.list_names()
    threads = [threading.Thread(target=caller.list_names) for _ in range(8)]

    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Calls one after another would take 16 s.
    assert 2.0 <= time.monotonic() - start < 16.0


def test_close_aborts_a_hung_request() -> None:
    cloud = LoopbackCloud().start()
    caller = Caller(cloud)
    caller.list_names()
    cloud.fault(Fault(path="/servers", hang=60))
    errors: list[BaseException] = []

    def hang() -> None:
        try:
            caller.list_names()
        except BROKEN as error:
            errors.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    until(lambda: cloud.count(path="/servers") == 2)
    cloud.close()
    thread.join(60)

    assert not thread.is_alive()
    assert errors


def test_a_fault_is_read_from_json() -> None:
    fault = Fault.from_json({"path": "/servers", "fate": {"stuck": True}})

    assert fault == Fault(path="/servers", fate=Fate(stuck=True))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"status": 500, "colour": "red"}, "no such field: colour"),
        ({"status": 500, "where": "x"}, "no such field: where"),
        ({"status": "500"}, "not supported between"),
        ({"status": 99}, "99 is not an HTTP status"),
        ({"fate": {"colour": "red"}}, "colour"),
        ({"path": "(", "status": 500}, "unterminated"),
    ],
)
def test_invalid_json_of_a_fault_is_refused(
    value: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fault.from_json(value)
