"""A folder with credentials of every origin, and commands that use them."""

import json
from pathlib import Path
from typing import Any

from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_group
from tests.processes import poolmgr

#: Seconds that a command has: one that waits for an outage takes longer than
#: a command may take here.
TIMEOUT = "3600"


def token_of(cloud: LoopbackCloud) -> dict[str, Any]:
    """What Keystone tells of a token."""
    given = cloud.credentials
    user = {
        "name": given["username"],
        "password": given["password"],
        "domain": {"id": given["user_domain_id"]},
    }
    identity = {"methods": ["password"], "password": {"user": user}}
    answer = cloud.connect().session.post(
        f"{cloud.auth_url}/auth/tokens",
        json={"auth": {"identity": identity}},
        authenticated=False,
    )
    return dict(answer.json()["token"])


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
            assert "retrying in" not in done.stderr
            said = f"{done.stdout}{done.stderr}"
        return said

    def works(self, environment: dict[str, str]) -> str:
        """What a check says that is to succeed."""
        config = str(self.folder / "poolmgr.conf")
        done = poolmgr("--config-file", config, "check", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _write(self, credentials: str, options: Any) -> None:
        group = nova_group("", **(options or {}))
        group = group.replace("cloud = \n", f"{credentials}\n")
        path = self.folder / "poolmgr.conf"
        path.write_text(
            f"[poolmgr]\nshort_timeout = {TIMEOUT}\n"
            f"long_timeout = {TIMEOUT}\n[monitoring]\nport = 0\n{group}"
        )
        path.chmod(0o600)
