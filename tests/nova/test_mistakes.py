"""Mistakes in what says which cloud: told at once, by all that start."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import nova_group
from tests.processes import poolmgr

#: Seconds that a command has: one that waits for an outage takes longer than
#: a command may take here.
PATIENCE = "3600"


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        yield cloud


class Place:
    """A folder with configuration files, and commands that use them."""

    def __init__(self, folder: Path, cloud: LoopbackCloud) -> None:
        self.folder = folder
        self.auth = dict(cloud.credentials)

    def by_clouds_yaml(
        self, auth: Any = None, conf: Any = None, **cloud: Any
    ) -> dict[str, str]:
        """The environment, with the credentials in clouds.yaml.

        :param conf: other options of ``[nova]``
        """
        entry = {"auth": {**self.auth, **(auth or {})}, **cloud}
        path = self.folder / "clouds.yaml"
        path.write_text(json.dumps({"clouds": {"there": entry}}))
        path.chmod(0o600)
        self._write("cloud = there", conf)
        return {"OS_CLIENT_CONFIG_FILE": str(path)}

    def by_conf(self, **options: Any) -> dict[str, str]:
        """The environment, with the credentials in ``[nova]``."""
        self._write("", {**self.auth, **options})
        return {}

    def by_openrc(self, **variables: str) -> dict[str, str]:
        """The environment, with the credentials in it."""
        self._write("", {})
        given = {f"OS_{k.upper()}": v for k, v in self.auth.items()}
        return {**given, **variables}

    def tells(self, environment: dict[str, str], *commands: str) -> str:
        """What commands say that are to fail, and at once."""
        said = ""
        for command in commands or ("check",):
            config = str(self.folder / "poolmgr.conf")
            done = poolmgr("--config-file", config, command, **environment)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            assert "again in" not in done.stderr
            said = f"{done.stdout}{done.stderr}"
        return said

    def _write(self, credentials: str, options: Any) -> None:
        group = nova_group("", **(options or {}))
        group = group.replace("cloud = \n", f"{credentials}\n")
        path = self.folder / "poolmgr.conf"
        path.write_text(
            f"[poolmgr]\nshort_timeout = {PATIENCE}\n"
            f"long_timeout = {PATIENCE}\n[monitoring]\nport = 0\n{group}"
        )
        path.chmod(0o600)


@pytest.fixture
def place(tmp_path: Path, cloud: LoopbackCloud) -> Place:
    return Place(tmp_path, cloud)


# -- the address of Keystone --------------------------------------------------


@pytest.mark.parametrize("origin", ["clouds.yaml", "[nova]", "OS_"])
@pytest.mark.parametrize("wrong", ["v3/auth/tokens", "no scheme"])
def test_an_auth_url_that_is_none_is_told_with_its_origin(
    place: Place, origin: str, wrong: str
) -> None:
    url = place.auth["auth_url"].replace("/v3", f"/{wrong}")
    if wrong == "no scheme":
        url = place.auth["auth_url"].replace("http://", "")
    where = "[nova] auth_url"
    if origin == "[nova]":
        environment = place.by_conf(auth_url=url)
    elif origin == "OS_":
        environment = place.by_openrc(OS_AUTH_URL=url)
        where = "OS_AUTH_URL"
    else:
        environment = place.by_clouds_yaml({"auth_url": url})
        where = "clouds.yaml: clouds.there.auth.auth_url"

    said = place.tells(environment)

    assert where in said
    assert url in said


@pytest.mark.parametrize("end", ["", "/", " ", "/v2.0", "/v3/"])
def test_an_auth_url_that_is_nearly_right_will_do(
    place: Place, cloud: LoopbackCloud, end: str
) -> None:
    url = place.auth["auth_url"].replace("/v3", end)

    done = poolmgr(
        "--config-file",
        str(place.folder / "poolmgr.conf"),
        "check",
        **place.by_clouds_yaml({"auth_url": url}),
    )

    assert done.returncode == 0


def test_a_keystone_whose_versions_need_a_login_is_used(
    place: Place, cloud: LoopbackCloud
) -> None:
    page = {"WWW-Authenticate": "Basic realm=x"}
    cloud.fault(
        Fault(
            "GET", "/", service="identity", status=401, headers=page,
            times=None,
        )
    )  # fmt: skip

    done = poolmgr(
        "--config-file",
        str(place.folder / "poolmgr.conf"),
        "check",
        **place.by_clouds_yaml(),
    )

    assert done.returncode == 0


def test_a_way_to_log_in_that_is_gone_is_told(place: Place) -> None:
    place.auth = {k: v for k, v in place.auth.items() if "domain" not in k}

    said = place.tells(
        place.by_clouds_yaml(auth_type="v2password"),
        "check",
        "worker",
        "build-device",
    )

    assert "clouds.yaml: clouds.there.auth_type" in said
