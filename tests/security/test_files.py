"""Permissions of files with secrets, and of files that poolmgr writes."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from poolmgr.testing.openstack import LoopbackCloud
from tests.processes import poolmgr

EVERYBODY = stat.S_IROTH | stat.S_IWOTH
MODES = {
    0o600: False,
    0o400: False,
    # The group is poolmgr in Debian packages.
    0o640: False,
    0o660: False,
    0o644: True,
    0o604: True,
    0o602: True,
    0o666: True,
}


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        yield cloud


def write_config(
    folder: Path, cloud: LoopbackCloud, password: bool = True
) -> Path:
    """Write a configuration file with the cloud's credentials."""
    options = {
        **cloud.credentials,
        "image": "tiny",
        "flavor": "m1.nano",
        "networks": "private",
        "floating_network": "public",
    }
    if not password:
        del options["password"]
    lines = [f"{key} = {value}" for key, value in options.items()]
    path = folder / "poolmgr.conf"
    path.write_text("\n".join(["[nova]", *lines, ""]))
    return path


def run_for_warnings(*args: str, **environment: str) -> list[str]:
    """Run a command and return its warnings about files."""
    done = poolmgr(*args, **environment)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "chmod" in line]


@pytest.mark.parametrize("mode", MODES, ids=oct)
def test_a_readable_configuration_with_a_password_is_reported(
    cloud: LoopbackCloud, tmp_path: Path, mode: int
) -> None:
    path = write_config(tmp_path, cloud)
    path.chmod(mode)

    assert (
        run_for_warnings("--config-file", str(path), "check")
        == [
            f"poolmgr: {path} has a secret ([nova] password) and can be read "
            f"by everybody: chmod 600 {path} (640 if a group is to read it)"
        ]
        * (MODES[mode])
    )


def test_a_readable_configuration_without_secrets_is_not_reported(
    cloud: LoopbackCloud, tmp_path: Path
) -> None:
    path = write_config(tmp_path, cloud, password=False)
    path.chmod(0o644)

    found = run_for_warnings(
        *("--config-file", str(path), "check"),
        OS_NOVA__PASSWORD=cloud.credentials["password"],
    )

    assert found == []


def test_the_warning_names_the_file_with_the_secret(
    cloud: LoopbackCloud, tmp_path: Path
) -> None:
    public = write_config(tmp_path, cloud, password=False)
    secret = tmp_path / "secret.conf"
    secret.write_text(f"[nova]\npassword = {cloud.credentials['password']}\n")
    args = []
    for path in (public, secret):
        path.chmod(0o644)
        args += ["--config-file", str(path)]

    (line,) = run_for_warnings(*args, "check")

    assert line.startswith(f"poolmgr: {secret} has a secret")


def test_a_readable_libra_cfg_with_a_password_is_reported(
    cloud: LoopbackCloud, tmp_path: Path
) -> None:
    credentials = cloud.credentials
    path = tmp_path / "libra.cfg"
    path.write_text(
        f"[mgm]\nnova_auth_url = {credentials['auth_url']}\n"
        f"nova_user = {credentials['username']}\n"
        f"nova_pass = {credentials['password']}\n"
        f"nova_tenant = {credentials['project_name']}\n"
        "nova_image = tiny\nnova_image_size = m1.nano\n"
        "nova_net_id = private\n"
    )
    path.chmod(0o644)

    (line,) = run_for_warnings("--config-file", str(path), "check")

    assert line.startswith(f"poolmgr: {path} has a secret ([nova] password)")


@pytest.mark.parametrize("split", [False, True])
def test_a_readable_clouds_yaml_with_a_password_is_reported(
    cloud: LoopbackCloud, tmp_path: Path, split: bool
) -> None:
    auth = dict(cloud.credentials)
    secure = {"clouds": {"x": {"auth": {"password": auth["password"]}}}}
    if split:
        del auth["password"]
    clouds, secret = tmp_path / "clouds.yaml", tmp_path / "secure.yaml"
    clouds.write_text(json.dumps({"clouds": {"x": {"auth": auth}}}))
    secret.write_text(json.dumps(secure if split else {}))
    for path in (clouds, secret):
        path.chmod(0o644)
    environment = {
        "OS_CLIENT_CONFIG_FILE": str(clouds),
        "OS_CLIENT_SECURE_FILE": str(secret),
        "OS_NOVA__IMAGE": "tiny",
        "OS_NOVA__FLAVOR": "m1.nano",
        "OS_NOVA__NETWORKS": "private",
    }

    (line,) = run_for_warnings("--os-cloud", "x", "check", **environment)

    path = secret if split else clouds
    warning = f"poolmgr: {path} has a secret (clouds.x.auth.password)"
    assert line.startswith(warning)
    path.chmod(0o640)
    assert run_for_warnings("--os-cloud", "x", "check", **environment) == []


@pytest.mark.parametrize("command", ["check", "worker"])
def test_a_readable_key_is_reported(tmp_path: Path, command: str) -> None:
    authority = trustme.CA()
    ca, cert, key = (str(tmp_path / n) for n in ("ca", "cert", "key"))
    authority.cert_pem.write_to_path(ca)
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    os.chmod(key, 0o644)
    path = tmp_path / "poolmgr.conf"
    path.write_text(
        f"[gearman]\nssl_ca = {ca}\nssl_cert = {cert}\nssl_key = {key}\n"
    )
    args = ["--driver", "fake", "--config-file", str(path)]
    if command == "worker":
        # The key is reported although the worker does not start.
        Path(ca).write_text("none")

    done = poolmgr(*args, command)

    (line,) = [line for line in done.stderr.splitlines() if "chmod" in line]
    assert f"{key} has a secret ([gearman] ssl_key)" in line


@pytest.mark.parametrize(
    ("umask", "mode"), [(0, 0o644), (0o022, 0o644), (0o027, 0o640)]
)
def test_files_of_poolmgr_are_writable_only_by_their_owner(
    tmp_path: Path, umask: int, mode: int
) -> None:
    log, state = tmp_path / "poolmgr.log", tmp_path / "cloud.db"
    subprocess.run(
        [
            sys.executable,
            *("-m", "poolmgr", "--driver", "fake"),
            *("--log-file", str(log), "build-ip"),
        ],
        env={**os.environ, "OS_FAKE__STATE": str(state)},
        umask=umask,
        check=True,
        capture_output=True,
    )

    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == mode, path
    assert log.exists()
    assert state.exists()
