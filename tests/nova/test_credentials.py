"""Tests of the ways to give credentials."""

import json
from pathlib import Path

import pytest

from poolmgr.cloud import open_cloud
from poolmgr.drivers.nova import NovaCloud, NovaSettings, connection_of
from poolmgr.drivers.nova.credentials import connect, with_version
from poolmgr.errors import CloudUnavailable, ConfigError
from poolmgr.testing.openstack import LoopbackCloud
from poolmgr.testing.openstack.identity import CREDENTIAL, CREDENTIAL_ID
from tests.clouds import openstack_on

PASSWORD = "secret"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the credentials of the user who runs the tests."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


def works(driver: NovaCloud) -> bool:
    with open_cloud(driver, timeout=10.0) as openstack:
        return openstack.list_devices() == []


def settings(cloud: LoopbackCloud, **auth: str) -> NovaSettings:
    return NovaSettings(auth_url=cloud.auth_url, **auth)  # type: ignore[arg-type]


def test_a_cloud_in_clouds_yaml_is_used(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    assert works(NovaCloud(NovaSettings(cloud="loopback")))


def test_the_cloud_named_by_os_cloud_is_used(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    monkeypatch.setenv("OS_CLOUD", "loopback")
    # The SDK must not take an option of poolmgr for one of its own.
    monkeypatch.setenv("OS_NOVA__IMAGE", "tiny")

    assert works(NovaCloud(NovaSettings()))


def test_credentials_in_the_environment_are_used(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.credentials.items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)
    monkeypatch.setenv("OS_POOLMGR__DRIVER", "nova")

    assert works(NovaCloud(NovaSettings()))


def test_credentials_in_the_configuration_are_used(
    cloud: LoopbackCloud,
) -> None:
    auth = {k: v for k, v in cloud.credentials.items() if k != "auth_url"}

    assert works(NovaCloud(settings(cloud, **auth)))


def test_user_and_project_are_in_the_default_domain_by_default(
    cloud: LoopbackCloud,
) -> None:
    auth = {
        key: cloud.credentials[key]
        for key in ("username", "password", "project_name")
    }

    assert works(NovaCloud(settings(cloud, **auth)))


@pytest.mark.parametrize(
    "auth",
    [
        {"application_credential_id": CREDENTIAL_ID},
        {"application_credential_name": CREDENTIAL, "username": "demo"},
        {"application_credential_id": CREDENTIAL_ID, "project_name": "demo"},
    ],
)
def test_an_application_credential_logs_in(
    cloud: LoopbackCloud, auth: dict[str, str]
) -> None:
    secret = cloud.credentials["password"]

    driver = NovaCloud(
        settings(
            cloud,
            auth_type="v3applicationcredential",
            application_credential_secret=secret,
            **auth,
        )
    )

    assert works(driver)


def test_a_token_logs_in(cloud: LoopbackCloud) -> None:
    token = str(cloud.connect().session.get_token())
    project = cloud.credentials["project_name"]

    driver = NovaCloud(
        settings(cloud, auth_type="v3token", token=token, project_name=project)
    )

    assert works(driver)


def test_a_token_in_clouds_yaml_logs_in(
    cloud: LoopbackCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = {
        "auth_url": cloud.credentials["auth_url"],
        "token": str(cloud.connect().session.get_token()),
        "project_name": cloud.credentials["project_name"],
        "project_domain_id": "default",
    }
    clouds = {"clouds": {"x": {"auth_type": "v3token", "auth": auth}}}
    path = tmp_path / "clouds.yaml"
    path.write_text(json.dumps(clouds))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    assert works(NovaCloud(NovaSettings(cloud="x")))


def test_a_connection_of_the_caller_is_used_and_not_closed(
    cloud: LoopbackCloud,
) -> None:
    connection = cloud.connect()

    assert works(NovaCloud(NovaSettings(), connection))
    assert works(NovaCloud(NovaSettings(), connection))


def test_a_session_of_the_caller_is_used(cloud: LoopbackCloud) -> None:
    connection = connection_of(cloud.connect().session)

    assert works(NovaCloud(NovaSettings(), connection))
    connection.close()


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("https://k.example:5000/v3", "https://k.example:5000/v3"),
        ("https://k.example:5000", "https://k.example:5000/v3"),
        ("https://k.example/identity/", "https://k.example/identity/v3"),
        ("https://k.example:35357/v2.0/", "https://k.example:35357/v3"),
        ("http://k.example/identity/v2.0", "http://k.example/identity/v3"),
    ],
)
def test_auth_url_is_completed_to_version_3(url: str, used: str) -> None:
    assert with_version(url, "v3") == used


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no cloud is configured; name the cloud with --os-cloud"),
        ({"cloud": "nosuch"}, "nosuch"),
        ({"cloud": "a", "auth_url": "http://b"}, "cloud and auth_url are bo"),
        (
            {"auth_url": "k.example", "username": "u", "password": "p"},
            "auth_url must be like https://",
        ),
        ({"auth_url": "http://k/v3"}, "password is missing"),
        ({"auth_url": "http://k/v3", "password": "p"}, "username is missing"),
        (
            {"auth_url": "http://k/v3", "auth_type": "v3token"},
            "token is missing",
        ),
        (
            {"auth_url": "http://k", "auth_type": "v3applicationcredential"},
            "application_credential_secret is missing",
        ),
        ({"auth_url": "http://k", "auth_type": "kerberos"}, "auth_type"),
    ],
)
def test_missing_or_wrong_options_are_reported_in_one_line(
    options: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(NovaSettings(**options))  # type: ignore[arg-type]

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreachable_keystone_is_retried_until_the_deadline() -> None:
    unreachable = NovaSettings(
        auth_url="http://127.0.0.1:9/v3",
        username="u",
        password="p",
        project_name="p",
    )

    with open_cloud(NovaCloud(unreachable), timeout=1.0) as openstack:
        with pytest.raises(CloudUnavailable, match=r"127\.0\.0\.1:9"):
            openstack.list_devices()


def test_a_compute_endpoint_of_version_2_is_mapped(
    cloud: LoopbackCloud,
) -> None:
    old = f"{cloud.url}/compute/v2/4711"

    with openstack_on(cloud, compute_endpoint=old) as openstack:
        assert openstack.list_devices() == []
