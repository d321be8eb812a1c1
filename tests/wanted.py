"""System programs that the tests need."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

#: Folders of programs that ``./dev test`` installs locally, and of services,
#: which are often not in PATH.
_ELSEWHERE = f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin"


def program(*names: str, package: str = "") -> str:
    """Return a program's path; without it skip the test, except in CI.

    :param names: its possible names
    :param package: its Debian package, if that has another name
    """
    for name in names:
        if path := shutil.which(name) or shutil.which(name, path=_ELSEWHERE):
            return path
    return go_without(package or names[0])


def go_without(what: str) -> NoReturn:
    """Skip the test; fail in CI, which must have everything.

    :raises Failed: this is CI
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")
