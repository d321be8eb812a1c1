"""Folders of configuration files, for commands that log in to a cloud."""

import json
from pathlib import Path
from typing import Any

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import nova_group
from tests.processes import poolmgr

#: Seconds of a job; a command that retried for so long would fail its test.
JOB_TIMEOUT = "3600"
#: Where credentials and other options may come from.
ORIGINS = ("clouds.yaml", "[nova]", "OS_")


def token_of(cloud: LoopbackCloud) -> dict[str, Any]:
    """Return the token that Keystone issues for the cloud's credentials."""
    credentials = cloud.credentials
    user = {
        "name": credentials["username"],
        "password": credentials["password"],
        "domain": {"id": credentials["user_domain_id"]},
    }
    identity = {"methods": ["password"], "password": {"user": user}}
    answer = cloud.connect().session.post(
        f"{cloud.auth_url}/auth/tokens",
        json={"auth": {"identity": identity}},
        authenticated=False,
    )
    return dict(answer.json()["token"])


def changed_token(cloud: LoopbackCloud, **changes: Any) -> Fault:
    """Return the fault that Keystone changes its token."""
    body = {"token": {**token_of(cloud), **changes}}
    headers = {"X-Subject-Token": cloud.connect().authorize()}
    return Fault(
        "POST", "/auth/tokens", status=201, body=body, headers=headers,
        times=None,
    )  # fmt: skip


class ConfigFolder:
    """A folder of configuration files with the credentials of a cloud.

    Each ``use_`` method writes the files and returns the environment of the
    commands.

    :ivar auth: the credentials that are written
    """

    def __init__(self, path: Path, cloud: LoopbackCloud) -> None:
        self.path = path
        self.auth = dict(cloud.credentials)

    def use_clouds_yaml(
        self, auth: Any = None, conf: Any = None, **cloud: Any
    ) -> dict[str, str]:
        """Put the credentials into clouds.yaml.

        :param auth: changed credentials
        :param conf: options of ``[nova]``
        :param cloud: other keys of the cloud in clouds.yaml
        """
        entry = {"auth": {**self.auth, **(auth or {})}, **cloud}
        file = self.path / "clouds.yaml"
        file.write_text(json.dumps({"clouds": {"mycloud": entry}}))
        file.chmod(0o600)
        self._write("cloud = mycloud", conf)
        return {"OS_CLIENT_CONFIG_FILE": str(file)}

    def use_options(self, **options: Any) -> dict[str, str]:
        """Put the credentials and other options into ``[nova]``."""
        self._write("", {**self.auth, **options})
        return {}

    def use_openrc(self, **variables: str) -> dict[str, str]:
        """Put the credentials and other variables into the environment."""
        self._write("", {})
        auth = {f"OS_{k.upper()}": v for k, v in self.auth.items()}
        return {**auth, **variables}

    def use(self, origin: str, **options: str) -> dict[str, str]:
        """Put the credentials and other options into their origin.

        :param origin: one of :data:`ORIGINS`
        """
        if origin == "[nova]":
            return self.use_options(**options)
        if origin == "OS_":
            variables = {f"OS_{k.upper()}": v for k, v in options.items()}
            return self.use_openrc(**variables)
        auth = {k: v for k, v in options.items() if k in self.auth}
        cloud = {k: v for k, v in options.items() if k not in self.auth}
        return self.use_clouds_yaml(auth, **cloud)

    def fails(self, environment: dict[str, str], *commands: str) -> str:
        """Require that commands fail without a retry.

        :param commands: by default, ``check``
        :returns: the output of the last
        """
        output = ""
        for command in commands or ("check",):
            config = str(self.path / "poolmgr.conf")
            done = poolmgr("--config-file", config, command, **environment)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            assert "retrying in" not in done.stderr
            output = f"{done.stdout}{done.stderr}"
        return output

    def passes(self, environment: dict[str, str]) -> str:
        """Require that ``check`` passes; return its output."""
        config = str(self.path / "poolmgr.conf")
        done = poolmgr("--config-file", config, "check", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _write(self, credentials: str, options: Any) -> None:
        group = nova_group("", **(options or {}))
        group = group.replace("cloud = \n", f"{credentials}\n")
        file = self.path / "poolmgr.conf"
        file.write_text(
            f"[poolmgr]\nshort_timeout = {JOB_TIMEOUT}\n"
            f"long_timeout = {JOB_TIMEOUT}\n[monitoring]\nport = 0\n{group}"
        )
        file.chmod(0o600)
