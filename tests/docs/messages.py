"""Checks of JSON on the pages: messages, answers, marks and log lines."""

import json
from pathlib import Path
from typing import Any

from poolmgr import Job, PoolManager
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import LoopbackCloud
from tests.batches import ask
from tests.clouds import nova_on
from tests.docs.blocks import Block
from tests.docs.plain import plain
from tests.jobservers import builtin
from tests.processes import worker

#: The fields that actions and answers add to a message.
ADDED = {
    "BUILD_DEVICE": {"name", "addr", "type", "az", "response", "error"},
    "BUILD_IP": {"id", "ip", "response", "error"},
}
ADDRESS = "198.18.0.1"


def check_message(block: Block, _folder: Path) -> None:
    """Compare a JSON with a real one of its kind."""
    match json.loads(block.text):
        case {"time": _} as shown:
            check_log_line(shown)
        case {"metadata": _} as shown:
            check_mark(shown)
        case shown:
            check_answer(shown)


def check_log_line(shown: dict[str, Any]) -> None:
    """Compare the log line of a job that fails."""
    message = {"action": shown["action"], "name": "libra-absent"}
    with builtin() as server:
        with worker(
            [str(server.address)], OS_WORKER__LOG_FORMAT="json"
        ) as process:
            process.wait_for("registered")
            ask(server.address, message)
            line = json.loads(process.wait_for('"outcome"'))

    assert {key: type(value) for key, value in line.items()} == {
        key: type(value) for key, value in shown.items()
    }
    for key in ("action", "level", "logger", "outcome", "error", "retryable"):
        assert line[key] == shown[key]
    assert line["reason"] == shown["reason"].replace("...", "absent")


def check_mark(shown: dict[str, Any]) -> None:
    """Compare the mark of a server."""
    metadata = shown["metadata"]
    job = Job(metadata["poolmgr_unique"], metadata["poolmgr_handle"])
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        with PoolManager(driver) as manager:
            answer = manager.run({"action": "BUILD_DEVICE"}, job)
        assert answer["response"] == "PASS"
        (server,) = cloud.servers
        assert driver.list_devices(20.0)

    actual = {key: server[key] for key in shown}
    actual["tags"].sort()
    # Without the values that differ each time.
    assert plain(json.dumps(actual)) == plain(json.dumps(shown))


def check_answer(shown: dict[str, str]) -> None:
    """Check that a request passes, and that an answer has these fields."""
    added = ADDED.get(shown["action"], {"response", "error"})
    request = {key: v for key, v in shown.items() if key not in added}
    explained = PoolSettings(explain_failures="error" in shown)
    settings = FakeSettings(ip_range=f"{shown.get('ip', ADDRESS)}/32")
    cloud = FakeCloud(settings)
    with PoolManager(cloud, explained) as manager:
        if shown.get("response") != "FAIL":
            # Create what the request is about.
            if "ip" in request:
                manager.execute("BUILD_IP")
            if "name" in request:
                cloud.create_device(request["name"], None, 10.0)
            if request["action"] == "REMOVE_IP":
                manager.run({**request, "action": "ASSIGN_IP"})
        answer = manager.run(request)
    cloud.close()

    assert answer["response"] == shown.get("response", "PASS"), answer
    if "response" in shown:
        assert answer.keys() == shown.keys()
        assert answer.get("error") == shown.get("error")
