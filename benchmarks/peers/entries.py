"""Prints how many calls of poolmgr's functions a BUILD_DEVICE makes.

The second of two builds counts, since the first one logs in.  A second number
is that of the functions, and a third that of their modules, that are on the
stacks of the build when it calls keystoneauth to create its server.
"""

import asyncio
import gc
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import poolmgr
from poolmgr import PoolManager
from poolmgr.drivers.nova import NovaCloud, NovaSettings

OURS = str(Path(poolmgr.__file__).parent)
ACTION = str(Path(OURS, "actions", "build_device.py"))
count = 0
created: list[CodeType] = []


def stack_of_thread(frame: FrameType | None) -> list[CodeType]:
    """Return the functions on the stack of a thread."""
    found = []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    return found


def stack_of_task(waiting: Any) -> list[CodeType]:
    """Return the coroutines of a task that wait for each other."""
    found = []
    while hasattr(waiting, "cr_code"):
        found.append(waiting.cr_code)
        waiting = waiting.cr_await
    return found


def note_creation(frame: FrameType) -> None:
    """Note what is on the stacks of the build if it creates its server."""
    if not str(frame.f_locals["url"]).endswith("/servers"):
        return
    stacks = [stack_of_thread(each) for each in sys._current_frames().values()]
    objects = gc.get_objects()
    tasks = [each for each in objects if isinstance(each, asyncio.Task)]
    stacks += [stack_of_task(each.get_coro()) for each in tasks]
    created[:] = stack_of_thread(frame)
    for stack in stacks:
        if any(code.co_filename == ACTION for code in stack):
            created.extend(stack)


def profile(frame: FrameType, event: str, argument: object) -> None:
    """Count a call."""
    global count
    if event != "call":
        return
    if frame.f_code.co_filename.startswith(OURS):
        count += 1
    elif frame.f_code.co_qualname == "Session.request":
        note_creation(frame)


settings = NovaSettings(
    cloud="loopback", image="tiny", flavor="m1.nano", networks=("private",)
)
threading.setprofile(profile)
sys.setprofile(profile)
with PoolManager(NovaCloud(settings)) as manager:
    manager.run({"action": "BUILD_DEVICE"})
    before = count
    answer = manager.run({"action": "BUILD_DEVICE"})
    after = count
assert answer["response"] == "PASS", answer
ours = [code for code in created if code.co_filename.startswith(OURS)]
print(after - before, len(ours), len({code.co_filename for code in ours}))
