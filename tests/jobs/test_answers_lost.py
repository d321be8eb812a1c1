"""An answer that was lost on its way leaves nothing that nobody owns."""

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import TransportError
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from poolmgr.ownership import Mark
from tests.asking import FUNCTION, asked
from tests.jobservers import gearmand
from tests.polling import until
from tests.processes import worker
from tests.relays import WORK_COMPLETE, relay

both = pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])


def ask(server: Address, action: str) -> dict[str, Any]:
    (answer,) = asked(server, {"action": action})()
    return answer


def marks(path: Path) -> list[Mark]:
    """The marks of all that is in the cloud."""
    with closing(FakeCloud(FakeSettings(state=str(path)))) as cloud:
        deadline = 10.0
        found = [device.mark for device in cloud.list_devices(deadline)]
        found += [ip.mark for ip in cloud.list_ips(deadline)]
    return [mark for mark in found if mark is not None]


def once(then: Callable[[], bytes | None]) -> Callable[[bytes], bytes | None]:
    """Do it with the first answer, and pass everything else on."""
    done: list[bytes] = []

    def sees(data: bytes) -> bytes | None:
        if WORK_COMPLETE in data and not done:
            done.append(data)
            return then()
        return data

    return sees


@both
def test_an_answer_lost_with_the_link_is_given_again(
    tmp_path: Path, action: str
) -> None:
    path = tmp_path / "cloud.db"
    config = f"[fake]\nstate = {path}\n"
    with gearmand() as server, relay(server.address, once(lambda: None)) as r:
        with worker([str(r.address)], config, tmp_path) as process:
            answer = ask(server.address, action)
            process.wait_for("connection lost just after its answer was sent")
            process.wait_for("outcome=PASS")

    assert answer["response"] == "PASS"
    (mark,) = marks(path)
    assert (mark.state, mark.taken) == ("handed over", 1)


@both
def test_an_answer_lost_with_its_job_server_is_in_doubt(
    tmp_path: Path, action: str
) -> None:
    path = tmp_path / "cloud.db"
    config = f"[fake]\nstate = {path}\n"
    with gearmand() as server:

        def kill() -> None:
            server.kill()

        with relay(server.address, once(kill)) as between:
            with worker([str(between.address)], config, tmp_path) as process:
                with pytest.raises(TransportError):
                    ask(server.address, action)
                process.wait_for("just after its answer was sent")
                until(
                    lambda: [m.state for m in marks(path)] != ["handed over"]
                )

    assert [mark.state for mark in marks(path)] == ["unconfirmed"]


@both
def test_an_answer_refused_by_the_job_server_is_undone(
    tmp_path: Path, action: str
) -> None:
    path = tmp_path / "cloud.db"
    config = f"[fake]\nstate = {path}\n"
    # The handle of a job that there is not: gearmand answers JOB_NOT_FOUND.
    renamed: list[bytes] = []

    def rename(data: bytes) -> bytes:
        at = data.find(WORK_COMPLETE)
        if at < 0 or renamed:
            return data
        end = data.index(b"\0", at + 12)
        renamed.append(data)
        return data[: end - 1] + b"0" + data[end:]

    with gearmand() as server, relay(server.address, rename) as between:
        with worker([str(between.address)], config, tmp_path) as process:
            process.wait_for("registered")

            async def submit() -> None:
                async with Client([server.address]) as client:
                    message = json.dumps({"action": action}).encode()
                    await client.submit(FUNCTION, message)
                    await asyncio.to_thread(until, lambda: renamed)
                    await asyncio.to_thread(
                        process.wait_for, "its answer was refused"
                    )

            asyncio.run(submit())
            until(lambda: not marks(path))


def test_an_answer_that_was_never_sent_leaves_what_can_be_reaped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cloud.db"
    # Each call takes its time: the link is lost in the one that allocates.
    config = f"[fake]\nstate = {path}\ncall_time = 1\n"
    with gearmand() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")

            async def submit() -> None:
                async with Client([server.address]) as client:
                    message = b'{"action": "BUILD_IP"}'
                    await client.submit(FUNCTION, message)
                    # The look-up, and then the allocation.
                    await asyncio.sleep(1.5)
                    server.kill()

            asyncio.run(submit())
            process.wait_for("outcome=PASS")

    assert [mark.state for mark in marks(path)] == ["building"]
