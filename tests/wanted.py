"""Programs of the system's that tests run beside poolmgr."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

#: Where ``./dev test`` puts what it does not install for the whole system, and
#: where services are, which people have not in their PATH.
_ELSEWHERE = f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin"


def program(*names: str, package: str = "") -> str:
    """The path of a program; skips the test without, but not in CI.

    :param names: what it may be called
    :param package: Debian's package of it, if that has another name
    """
    for name in names:
        if path := shutil.which(name) or shutil.which(name, path=_ELSEWHERE):
            return path
    return go_without(package or names[0])


def go_without(what: str) -> NoReturn:
    """Skip the test, but not in CI, which is meant to have everything.

    :raises Failed: this is CI
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")
