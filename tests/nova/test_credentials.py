"""Who poolmgr is at the cloud, in every way that users say it."""

import json
from collections.abc import Iterator
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


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but those that a test gives."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


def works(driver: NovaCloud) -> bool:
    with open_cloud(driver, timeout=10.0) as openstack:
        return openstack.list_devices() == []


def settings(cloud: LoopbackCloud, **given: str) -> NovaSettings:
    return NovaSettings(auth_url=cloud.auth_url, **given)  # type: ignore[arg-type]


def test_a_cloud_in_clouds_yaml(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = cloud.write_clouds_yaml(tmp_path / "there.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    assert works(NovaCloud(NovaSettings(cloud="loopback")))


def test_a_cloud_that_the_environment_names(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = cloud.write_clouds_yaml(tmp_path / "there.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    monkeypatch.setenv("OS_CLOUD", "loopback")
    monkeypatch.setenv("OS_NOVA__IMAGE", "tiny")  # an option of poolmgr

    assert works(NovaCloud(NovaSettings()))


def test_credentials_in_the_environment(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.credentials.items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)
    monkeypatch.setenv("OS_POOLMGR__DRIVER", "nova")

    assert works(NovaCloud(NovaSettings()))


def test_a_password_in_the_configuration(cloud: LoopbackCloud) -> None:
    given = {k: v for k, v in cloud.credentials.items() if k != "auth_url"}

    assert works(NovaCloud(settings(cloud, **given)))


def test_names_are_of_the_default_domain(cloud: LoopbackCloud) -> None:
    given = {
        key: cloud.credentials[key]
        for key in ("username", "password", "project_name")
    }

    assert works(NovaCloud(settings(cloud, **given)))


@pytest.mark.parametrize(
    "given",
    [
        {"application_credential_id": CREDENTIAL_ID},
        {"application_credential_name": CREDENTIAL, "username": "demo"},
        {"application_credential_id": CREDENTIAL_ID, "project_name": "demo"},
    ],
)
def test_an_application_credential(
    cloud: LoopbackCloud, given: dict[str, str]
) -> None:
    secret = cloud.credentials["password"]

    driver = NovaCloud(
        settings(
            cloud,
            auth_type="v3applicationcredential",
            application_credential_secret=secret,
            **given,
        )
    )

    assert works(driver)


def test_a_token(cloud: LoopbackCloud) -> None:
    token = str(cloud.connect().session.get_token())
    project = cloud.credentials["project_name"]

    driver = NovaCloud(
        settings(cloud, auth_type="v3token", token=token, project_name=project)
    )

    assert works(driver)


def test_a_token_in_clouds_yaml(
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


def test_a_callers_own_connection_is_used_and_left_open(
    cloud: LoopbackCloud,
) -> None:
    connection = cloud.connect()

    assert works(NovaCloud(NovaSettings(), connection))
    assert works(NovaCloud(NovaSettings(), connection))


def test_a_callers_own_session(cloud: LoopbackCloud) -> None:
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
def test_the_address_is_that_of_version_3(url: str, used: str) -> None:
    assert with_version(url, "v3") == used


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no cloud is configured; name the cloud by --os-cloud"),
        ({"cloud": "nowhere"}, "nowhere"),
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
def test_what_is_missing_is_told_in_one_line(
    given: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(NovaSettings(**given))  # type: ignore[arg-type]

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cloud_that_is_not_there_is_waited_for_until_the_deadline() -> None:
    nowhere = NovaSettings(
        auth_url="http://127.0.0.1:9/v3",
        username="u",
        password="p",
        project_name="p",
    )

    with open_cloud(NovaCloud(nowhere), timeout=1.0) as openstack:
        with pytest.raises(CloudUnavailable, match=r"127\.0\.0\.1:9"):
            openstack.list_devices()


def test_an_old_compute_endpoint_is_mapped(cloud: LoopbackCloud) -> None:
    old = f"{cloud.url}/compute/v2/4711"

    with openstack_on(cloud, compute_endpoint=old) as openstack:
        assert openstack.list_devices() == []
