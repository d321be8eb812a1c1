"""Debian and Python packages, installed when missing."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcloud.commands import TestcloudError, run, say, together
from testcloud.location import Location

HERE = Path(__file__).parent
POLICY = Path("/usr/sbin/policy-rc.d")
#: Programs, and their Debian and Ubuntu packages.
PROGRAMS = {
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "memcached": "memcached",
}


def install(location: Location) -> None:
    """Install everything that is missing.

    :raises TestcloudError: a package cannot be installed
    """
    missing = _missing()
    if "python3-venv" in missing:
        _install_debian(location, missing)
        _install_python(location)
    elif missing:
        together(
            lambda: _install_debian(location, missing),
            lambda: _install_python(location),
        )
    else:
        _install_python(location)


def _missing() -> list[str]:
    path = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "")
    packages = {
        package
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=path) is None
    }
    if importlib.util.find_spec("ensurepip") is None:
        packages.add("python3-venv")
    return sorted(packages)


def _install_debian(location: Location, packages: list[str]) -> None:
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise TestcloudError(f"no apt-get here; install {names} yourself")
    say(f"apt-get: installing {names}")
    log = location.logs / "install-debian.log"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = [*_as_root(names), "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300"]
    with _without_services(_as_root(names)):
        run(*apt, "update", log=log, env=environment)
        run(
            *(*apt, "install", "--no-install-recommends", *packages),
            log=log,
            env=environment,
        )
    say("apt-get: done")


def _as_root(names: str) -> list[str]:
    """Return a prefix that runs a command as root."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    try:
        subprocess.run([*sudo, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise TestcloudError(
            "neither root nor allowed to use sudo without a password; "
            f"have somebody do: apt-get install {names}"
        ) from None
    # sudo drops the environment.
    return [*sudo, "DEBIAN_FRONTEND=noninteractive"]


@contextmanager
def _without_services(as_root: list[str]) -> Iterator[None]:
    """Keep Debian from starting the services that it installs.

    Debian consults a file first; an existing file is kept.
    """
    if POLICY.exists():
        yield
        return
    script = f"printf '#!/bin/sh\\nexit 101\\n' >{POLICY}; chmod 755 {POLICY}"
    subprocess.run([*as_root, "sh", "-c", script], check=True)
    try:
        yield
    finally:
        subprocess.run([*as_root, "rm", "-f", str(POLICY)], check=True)


def _install_python(location: Location) -> None:
    # To upgrade OpenStack: change requirements.txt, install it into a fresh
    # environment, and write its "pip freeze" into constraints.txt.
    requirements = HERE / "requirements.txt"
    constraints = HERE / "constraints.txt"
    wanted = requirements.read_bytes() + constraints.read_bytes()
    digest = hashlib.sha256(wanted).hexdigest()
    stamp = location.installed
    if stamp.exists() and stamp.read_text() == digest:
        return
    say("pip: installing OpenStack")
    log = location.logs / "install-python.log"
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    run(sys.executable, "-m", "venv", "--clear", location.venv, log=log)
    python = location.venv / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install"]
    files: list[str | Path] = ["-r", requirements, "-c", constraints]
    run(
        *(*pip, "--quiet", "--disable-pip-version-check", *files),
        log=log,
        env=environment,
    )
    stamp.write_text(digest)
    say("pip: done")
