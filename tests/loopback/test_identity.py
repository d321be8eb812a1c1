"""Tests of the loopback cloud's Keystone."""

import pytest
from keystoneauth1.exceptions import Unauthorized
from keystoneauth1.identity import BaseIdentityPlugin

from poolmgr.testing.openstack import LoopbackCloud
from tests.loopback.caller import Caller, connected

#: Options that ignore the machine's own OpenStack configuration.
ISOLATED = {"load_yaml_config": False, "load_envvars": False}


@pytest.mark.parametrize(
    "wrong", ["username", "password", "project_name", "user_domain_id"]
)
def test_wrong_credentials_are_refused(
    cloud: LoopbackCloud, wrong: str
) -> None:
    auth = {**cloud.credentials, wrong: "wrong"}

    with connected(auth=auth, **ISOLATED) as connection:
        with pytest.raises(Unauthorized):
            connection.session.get_token()


@pytest.mark.parametrize("kind", ["v3token", "v3applicationcredential"])
def test_tokens_and_application_credentials_are_accepted(
    cloud: LoopbackCloud, kind: str
) -> None:
    auth: dict[str, str] = {"auth_url": cloud.auth_url}
    if kind == "v3token":
        auth |= {
            "token": cloud.connect().authorize(),
            "project_name": "demo",
            "project_domain_id": "default",
        }
    else:
        auth |= {
            "application_credential_name": "demo",
            "application_credential_secret": "secret",
            "username": "demo",
            "user_domain_id": "default",
        }

    with connected(auth=auth, auth_type=kind, **ISOLATED) as connection:
        assert connection.compute.get("/flavors").status_code == 200


def test_a_client_renews_an_expired_token(caller: Caller) -> None:
    caller.list_names()
    caller.cloud.forget_calls()

    caller.cloud.expire_tokens()

    assert caller.list_names() == []
    statuses = [call.status for call in caller.cloud.calls]
    assert statuses == [401, 201, 200]


@pytest.mark.cloud(token_lifetime=0.0)
def test_a_call_with_an_expired_token_is_refused(
    cloud: LoopbackCloud,
) -> None:
    connection = cloud.connect()
    token = connection.session.get_token()

    for path in (
        "/compute/v2.1/servers",
        "/network/v2.0/ports",
        "/image/v2/images",
    ):
        answer = connection.session.get(
            cloud.url + path,
            headers={"X-Auth-Token": token},
            authenticated=False,
            raise_exc=False,
        )
        assert answer.status_code == 401
        assert "Unauthorized" in answer.text
        assert "Keystone uri=" in answer.headers["WWW-Authenticate"]


def test_a_token_contains_the_project_and_the_service_catalog(
    cloud: LoopbackCloud,
) -> None:
    session = cloud.connect().session
    assert isinstance(session.auth, BaseIdentityPlugin)

    access = session.auth.get_access(session)

    assert access.project_name == "demo"
    assert set(access.service_catalog.get_endpoints()) == {
        "identity",
        "compute",
        "network",
        "image",
    }
