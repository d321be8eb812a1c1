"""Tests of the loopback cloud's start, record, HTTP access and end."""

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


def test_a_body_that_is_not_json_is_refused(caller: Caller) -> None:
    answer = caller.compute("POST", "/servers", data="{")

    assert answer.status_code == 400
    assert "Malformed request body" in answer.text
    assert caller.cloud.calls[-1].body is None


def test_the_record_contains_every_call(caller: Caller) -> None:
    caller.list_names(name="^a$")
    caller.create_server("a")

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


def test_a_client_connects_with_the_written_clouds_yaml(
    cloud: LoopbackCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    with connected(cloud="loopback") as connection:
        assert connection.compute.get("/servers").json() == {"servers": []}


@pytest.mark.parametrize("loopback_cloud", [{"instances": 0}], indirect=True)
def test_the_fixture_accepts_settings(loopback_cloud: LoopbackCloud) -> None:
    assert Caller(loopback_cloud).post_server().status_code == 403


def test_close_ends_all_threads_and_frees_the_port() -> None:
    before = set(threading.enumerate())

    with LoopbackCloud() as cloud:
        Caller(cloud).list_names()
        port = int(cloud.url.rsplit(":")[-1])
    # A second close is allowed.
    cloud.close()

    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_starting_on_a_port_in_use_fails() -> None:
    with LoopbackCloud() as cloud:
        port = int(cloud.url.rsplit(":")[-1])

        with pytest.raises(OSError, match="in use"):
            LoopbackCloud(port=port).start()


def test_importing_the_module_does_not_import_the_sdk() -> None:
    code = (
        "import sys, poolmgr.testing.openstack"
        "; assert 'openstack' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_cloud_runs_as_a_command(
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
        assert process.wait(60) == 0


def test_faults_and_the_record_are_available_over_http(
    cloud: LoopbackCloud,
) -> None:
    url = cloud.url
    fault = {"service": "identity", "status": 418}

    assert request("POST", f"{url}/faults", fault)[0] == 201
    assert request("GET", f"{url}/identity")[0] == 418
    (call,) = request("GET", f"{url}/record")[1]
    assert (call["service"], call["status"]) == ("identity", 418)
    counts = request("GET", f"{url}/record/counts")[1]
    assert counts == {"identity GET 418": 1}

    assert request("DELETE", f"{url}/record")[0] == 204
    assert request("GET", f"{url}/record")[1] == []
    request("POST", f"{url}/faults", fault)
    assert request("DELETE", f"{url}/faults")[0] == 204
    assert request("GET", f"{url}/identity")[0] == 300


def test_invalid_faults_and_unknown_paths_are_refused_over_http(
    cloud: LoopbackCloud,
) -> None:
    assert request("POST", f"{cloud.url}/faults", {"status": 1})[0] == 400
    assert request("POST", f"{cloud.url}/faults", ["status"])[0] == 400
    assert request("GET", f"{cloud.url}/nowhere")[0] == 404


def request(method: str, url: str, body: object = None) -> tuple[int, Any]:
    """Send a request without the SDK; return the status and the JSON."""
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(url, data, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(message, timeout=60) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
