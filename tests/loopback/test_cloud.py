"""The loopback cloud can be reached, keeps a record, and ends."""

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.loopback.caller import Caller, connected


def test_a_body_that_is_no_json_is_refused(caller: Caller) -> None:
    answer = caller.compute("POST", "/servers", data="{")

    assert answer.status_code == 400
    assert "Malformed request body" in answer.text
    assert caller.cloud.calls[-1].body is None


def test_the_record_has_every_call(caller: Caller) -> None:
    caller.names(name="^a$")
    caller.new_server("a")

    caller.network("PUT", "/floatingips/x", headers={"If-Match": "y"}, json={})

    listed, posted = (
        next(c for c in caller.cloud.calls if c.method == m and c.path == p)
        for m, p in (("GET", "/servers"), ("POST", "/servers"))
    )
    assert listed.query == {"name": "^a$"}
    assert (posted.service, posted.status) == ("compute", 202)
    assert posted.body["server"]["name"] == "a"
    assert "openstacksdk" in posted.headers["User-Agent"]
    last = caller.cloud.calls[-1]
    assert (last.path, last.status) == ("/floatingips/x", 404)
    assert last.headers["If-Match"] == "y"
    assert caller.cloud.count("POST", "compute", "/servers") == 1
    assert caller.cloud.count(path="/servers|/floatingips/.") == 3
    caller.cloud.forget_calls()
    assert caller.cloud.calls == []


def test_a_clouds_yaml_leads_to_it(
    cloud: LoopbackCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    with connected(cloud="loopback") as connection:
        assert connection.compute.get("/servers").json() == {"servers": []}


@pytest.mark.parametrize("loopback_cloud", [{"instances": 0}], indirect=True)
def test_the_fixture_takes_settings(loopback_cloud: LoopbackCloud) -> None:
    assert Caller(loopback_cloud).post_server().status_code == 403


def test_nothing_is_left_when_it_is_closed() -> None:
    before = set(threading.enumerate())

    with LoopbackCloud() as cloud:
        Caller(cloud).names()
        port = int(cloud.url.rsplit(":")[-1])
    cloud.close()  # and again is no error

    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_port_that_is_taken_is_an_error() -> None:
    with LoopbackCloud() as cloud:
        port = int(cloud.url.rsplit(":")[-1])

        with pytest.raises(OSError, match="in use"):
            LoopbackCloud(port=port).start()


def test_importing_it_does_not_import_the_sdk() -> None:
    code = (
        "import sys, poolmgr.testing.openstack"
        "; assert 'openstack' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_runs_as_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    command = [sys.executable, "-m", "poolmgr.testing.openstack"]
    with subprocess.Popen(
        [*command, "--clouds-yaml", str(path), "--instances", "7"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline().strip() == str(path)
        written = json.loads(path.read_text())["clouds"]["loopback"]
        assert written["auth"]["auth_url"] == f"{url}/identity/v3"

        with connected(cloud="loopback") as connection:
            limits = connection.compute.get("/limits").json()["limits"]
        assert limits["absolute"]["maxTotalInstances"] == 7

        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_faults_and_the_record_are_reached_over_http(
    cloud: LoopbackCloud,
) -> None:
    url = cloud.url
    fault = {"service": "identity", "status": 418}

    assert ask("POST", f"{url}/faults", fault)[0] == 201
    assert ask("GET", f"{url}/identity")[0] == 418
    (call,) = ask("GET", f"{url}/record")[1]
    assert (call["service"], call["status"]) == ("identity", 418)
    counts = ask("GET", f"{url}/record/counts")[1]
    assert counts == {"identity GET 418": 1}

    assert ask("DELETE", f"{url}/record")[0] == 204
    assert ask("GET", f"{url}/record")[1] == []
    ask("POST", f"{url}/faults", fault)
    assert ask("DELETE", f"{url}/faults")[0] == 204
    assert ask("GET", f"{url}/identity")[0] == 300


def test_what_cannot_be_had_over_http_is_refused(cloud: LoopbackCloud) -> None:
    assert ask("POST", f"{cloud.url}/faults", {"status": 1})[0] == 400
    assert ask("POST", f"{cloud.url}/faults", ["status"])[0] == 400
    assert ask("GET", f"{cloud.url}/nowhere")[0] == 404


def ask(method: str, url: str, body: object = None) -> tuple[int, Any]:
    """Status and JSON of an answer, without the SDK."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
