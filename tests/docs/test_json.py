"""Every JSON block is a real message, answer, mark or log line."""

import json
from pathlib import Path
from typing import Any

from poolmgr import Job, PoolManager
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import LoopbackCloud
from tests.batches import ask
from tests.clouds import nova_on
from tests.docs.blocks import Block, blocks, of
from tests.docs.plain import plain
from tests.jobservers import builtin
from tests.processes import worker

#: A key that identifies the kind of JSON.
LOG, SERVER, MESSAGE = "time", "metadata", "action"
#: The fields that creating actions add.
DEVICE, IP = ("name", "addr", "type", "az"), ("id", "ip")
ADDRESS = "198.18.0.1"


def shown(sign: str) -> list[Block]:
    return [b for b in blocks("json") if kind(b) == sign]


def kind(block: Block) -> str:
    """Return the kind of a JSON; log lines also have an action."""
    try:
        keys = json.loads(block.text).keys()
    except json.JSONDecodeError as error:
        return f"broken: {error}"
    return next((s for s in (LOG, SERVER, MESSAGE) if s in keys), "unknown")


def shape(value: Any) -> Any:
    """Return a JSON without the values that differ each time."""
    match value:
        case dict():
            return {key: shape(each) for key, each in value.items()}
        case list():
            return [shape(each) for each in value]
        case str():
            return plain(value)
    return value


@of(blocks("json"))
def test_every_json_block_is_checked(block: Block) -> None:
    assert kind(block) in (LOG, SERVER, MESSAGE)


@of(shown(LOG))
def test_log_lines_have_the_fields_shown(block: Block, tmp_path: Path) -> None:
    wanted = json.loads(block.text)
    message = {"action": wanted["action"], "name": "libra-absent"}
    with builtin() as server:
        with worker(
            [str(server.address)], OS_WORKER__LOG_FORMAT="json"
        ) as process:
            process.wait_for("registered")
            ask(server.address, message)
            line = json.loads(process.wait_for('"outcome"'))

    assert line.keys() == wanted.keys()
    assert {key: type(value) for key, value in line.items()} == {
        key: type(value) for key, value in wanted.items()
    }
    for key in ("action", "level", "logger", "outcome", "error", "retryable"):
        assert line[key] == wanted[key]
    assert line["reason"] == "there is no device 'libra-absent'"
    assert wanted["reason"] == "there is no device 'libra-...'"


@of(shown(SERVER))
def test_marks_have_the_form_shown(block: Block) -> None:
    wanted = json.loads(block.text)
    job = Job(
        unique=wanted["metadata"]["poolmgr_unique"],
        handle=wanted["metadata"]["poolmgr_handle"],
    )
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        with PoolManager(driver) as manager:
            answer = manager.run({"action": "BUILD_DEVICE"}, job)
        assert answer["response"] == "PASS"
        (server,) = cloud.servers
        assert driver.list_devices(20.0)

    actual = {key: server[key] for key in wanted}
    actual["tags"].sort()
    assert shape(actual) == shape(wanted)


@of(shown(MESSAGE))
def test_answers_have_the_form_shown(block: Block) -> None:
    """Requests pass, and answers have the fields shown."""
    wanted = json.loads(block.text)
    adds = {"BUILD_DEVICE": DEVICE, "BUILD_IP": IP}.get(wanted["action"], ())
    added = {*adds, "response", "error"}
    request = {key: v for key, v in wanted.items() if key not in added}
    explained = PoolSettings(explain_failures="error" in wanted)
    settings = FakeSettings(ip_range=f"{wanted.get('ip', ADDRESS)}/32")
    cloud = FakeCloud(settings)
    with PoolManager(cloud, explained) as manager:
        if wanted.get("response") != "FAIL":
            prepare(manager, cloud, request)
        answer = manager.run(request)
    cloud.close()

    assert answer["response"] == wanted.get("response", "PASS"), answer
    if "response" in wanted:
        assert answer.keys() == wanted.keys()
        if "error" in wanted:
            assert answer["error"] == wanted["error"]


def prepare(
    manager: PoolManager, cloud: FakeCloud, request: dict[str, str]
) -> None:
    """Create the resource that a request is about."""
    if "ip" in request:
        manager.execute("BUILD_IP")
    if "name" in request:
        cloud.create_device(request["name"], None, 10.0)
    if request["action"] == "REMOVE_IP":
        manager.execute("ASSIGN_IP", ip=request["ip"], name=request["name"])


def test_some_are_found() -> None:
    assert len(shown(LOG)) >= 1
    assert len(shown(SERVER)) >= 1
    assert len(shown(MESSAGE)) >= 2
