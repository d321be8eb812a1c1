"""Each fault of the loopback cloud does what it says."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure, UnknownConnectionError

from poolmgr.testing.openstack import Fate, Fault, LoopbackCloud
from tests.loopback.caller import Caller, message_of
from tests.polling import until

# A connection that breaks while the answer is on its way is not among the
# errors that keystoneauth translates everywhere.
BROKEN = (ConnectFailure, UnknownConnectionError, OSError)


@pytest.mark.parametrize("after", [False, True])
def test_a_status_comes_before_or_after_the_effect(
    caller: Caller, after: bool
) -> None:
    fault = Fault(method="POST", path="/servers", status=500, after=after)
    caller.cloud.fault(fault)

    answer = caller.post_server()

    assert answer.status_code == 500
    assert answer.json()["computeFault"]["code"] == 500
    assert len(caller.cloud.servers) == (1 if after else 0)
    assert caller.post_server().status_code == 202


def test_an_answer_can_be_changed(caller: Caller) -> None:
    def without_name(answer: dict[str, Any]) -> dict[str, Any]:
        del answer["servers"][0]["name"]
        return answer

    caller.post_server()
    caller.cloud.fault(
        Fault(path="/servers", method="GET", change=without_name)
    )

    (shown,) = caller.compute("GET", "/servers").json()["servers"]
    (then,) = caller.compute("GET", "/servers").json()["servers"]

    assert set(then) - set(shown) == {"name"}


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_loses_the_request_or_its_answer(
    caller: Caller, after: bool
) -> None:
    caller.names()
    fault = Fault(method="POST", path="/servers", reset=True, after=after)
    caller.cloud.fault(fault)

    with pytest.raises(BROKEN):
        caller.post_server()

    assert len(caller.cloud.servers) == (1 if after else 0)
    assert caller.cloud.calls[-1].status is None


def test_a_request_that_hangs_goes_on_normally(caller: Caller) -> None:
    caller.names()
    caller.cloud.fault(Fault(path="/servers/detail", hang=0.1))

    begun = time.monotonic()

    assert caller.compute("GET", "/servers/detail").status_code == 200
    assert time.monotonic() - begun >= 0.1


def test_a_request_that_hangs_can_be_dropped(caller: Caller) -> None:
    caller.names()
    caller.cloud.fault(Fault(path="/servers/detail", hang=0.0, drop=True))

    with pytest.raises(BROKEN):
        caller.compute("GET", "/servers/detail")


def test_a_truncated_answer_breaks_off(caller: Caller) -> None:
    caller.new_server()
    caller.cloud.fault(Fault(path="/servers/detail", truncate=True))

    with pytest.raises(BROKEN):
        caller.compute("GET", "/servers/detail")


def test_an_html_page_can_stand_for_an_answer(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/servers/detail", html=True))

    answer = caller.compute("GET", "/servers/detail")

    assert answer.status_code == 200
    assert answer.text.startswith("<html>")


def test_an_answer_can_drip(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/servers", drip=0.005))

    begun = time.monotonic()
    answer = caller.compute("GET", "/servers")

    assert answer.json() == {"servers": []}
    assert time.monotonic() - begun >= 0.005 * len(answer.content)


def test_retry_after_is_seconds_or_a_date(caller: Caller) -> None:
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    for value in (3, when):
        caller.cloud.fault(
            Fault(path="/servers", status=429, retry_after=value)
        )

    answers = [caller.compute("GET", "/servers") for _twice in range(2)]

    assert [answer.headers["Retry-After"] for answer in answers] == [
        "3",
        "Wed, 02 Jan 2030 03:04:05 GMT",
    ]
    assert "overLimit" in answers[0].json()


def test_each_service_refuses_in_its_own_shape(caller: Caller) -> None:
    for service in ("compute", "network"):
        caller.cloud.fault(Fault(service=service, path="/.+", status=503))

    assert "serviceUnavailable" in caller.compute("GET", "/servers").json()
    assert "NeutronError" in caller.network("GET", "/ports").json()


def test_faults_can_be_lifted(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/flavors", status=503, times=None))
    assert caller.compute("GET", "/flavors").status_code == 503

    caller.cloud.clear_faults()

    assert caller.compute("GET", "/flavors").status_code == 200


def test_a_body_and_headers_can_be_given(caller: Caller) -> None:
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


def test_some_pass_first_and_some_suffer(caller: Caller) -> None:
    caller.cloud.fault(Fault(path="/servers", status=500, skip=1, times=2))

    seen = [caller.compute("GET", "/servers").status_code for _ in range(5)]

    assert seen == [200, 500, 500, 200, 200]


def test_faults_are_for_some_requests_only(caller: Caller) -> None:
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


def test_a_fault_has_exactly_one_effect() -> None:
    with pytest.raises(ValueError, match="exactly one effect"):
        Fault(path="/servers")
    with pytest.raises(ValueError, match="status, reset"):
        Fault(status=500, reset=True)
    with pytest.raises(ValueError, match="'drop' needs 'hang'"):
        Fault(status=500, drop=True)


def test_a_server_can_end_in_error(caller: Caller) -> None:
    caller.cloud.fault(Fault.server_error("No valid host was found. "))

    failed, fine = (caller.server(caller.new_server()) for _ in range(2))

    assert failed["status"] == "ERROR"
    assert failed["fault"]["message"] == "No valid host was found. "
    assert fine["status"] == "ACTIVE"


def test_a_server_can_be_stuck_and_is_still_deleted(caller: Caller) -> None:
    caller.cloud.fault(Fault.stuck())
    server_id = caller.new_server()
    assert caller.server(server_id)["status"] == "BUILD"

    caller.compute("DELETE", f"/servers/{server_id}")

    until(lambda: not caller.cloud.servers)


def test_a_server_can_be_active_without_addresses(caller: Caller) -> None:
    caller.cloud.fault(Fault.no_address())

    server = caller.server(caller.active_server())

    assert server["addresses"] == {}


@pytest.mark.cloud(boot_time=120)
def test_a_server_can_vanish(caller: Caller) -> None:
    caller.cloud.fault(Fault.vanish(60))
    server_id = caller.new_server()
    assert caller.server(server_id)["status"] == "BUILD"

    caller.cloud.advance(60)

    assert not caller.cloud.servers


def test_a_change_of_a_floating_ip_can_be_lost(caller: Caller) -> None:
    port_id = caller.port_of(caller.active_server())
    ip_id = caller.new_ip()["id"]
    caller.cloud.fault(Fault.lost_floating_ip())

    assert caller.put_ip(ip_id, port_id=port_id).status_code == 200

    assert caller.ip(ip_id)["port_id"] is None
    assert caller.ip(ip_id)["revision_number"] == 0


def test_a_server_can_fail_after_it_was_active(caller: Caller) -> None:
    server_id = caller.active_server()

    caller.cloud.fail_server(server_id, "The host burned down.")

    server = caller.server(server_id)
    assert server["status"] == "ERROR"
    assert server["fault"]["message"] == "The host burned down."
    with pytest.raises(KeyError):
        caller.cloud.fail_server("nobody")


@pytest.mark.cloud(rate_limit=0.01)
def test_calls_above_the_rate_are_refused(caller: Caller) -> None:
    first, second = (caller.compute("GET", "/flavors") for _twice in range(2))

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["Retry-After"] == "1"
    assert message_of(second) == "This request was rate-limited."


@pytest.mark.cloud(latencies={"compute": 0.5})
def test_slow_calls_overlap(caller: Caller) -> None:
    caller.names()
    threads = [threading.Thread(target=caller.names) for _ in range(8)]

    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # One after the other they would take 4 s.
    assert 0.5 <= time.monotonic() - begun < 4.0


def test_a_cloud_closes_while_a_request_hangs() -> None:
    cloud = LoopbackCloud().start()
    caller = Caller(cloud)
    caller.names()
    cloud.fault(Fault(path="/servers", hang=60))
    broken: list[BaseException] = []

    def hang() -> None:
        try:
            caller.names()
        except BROKEN as error:
            broken.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    until(lambda: cloud.count(path="/servers") == 2)
    cloud.close()
    thread.join(20)

    assert not thread.is_alive()
    assert broken


def test_a_fault_is_also_made_from_json() -> None:
    made = Fault.from_json({"path": "/servers", "fate": {"stuck": True}})

    assert made == Fault(path="/servers", fate=Fate(stuck=True))


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
def test_json_that_is_no_fault_is_refused(
    value: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fault.from_json(value)
