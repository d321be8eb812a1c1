"""Prints how many calls of poolmgr's functions a BUILD_DEVICE makes.

The second of two builds counts, since the first one logs in.
"""

import sys
import threading
from pathlib import Path
from types import FrameType

import poolmgr
from poolmgr import PoolManager
from poolmgr.drivers.nova import NovaCloud, NovaSettings

OURS = str(Path(poolmgr.__file__).parent)
count = 0


def profile(frame: FrameType, event: str, argument: object) -> None:
    """Count a call."""
    global count
    if event == "call" and frame.f_code.co_filename.startswith(OURS):
        count += 1


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
print(after - before)
