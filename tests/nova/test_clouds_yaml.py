"""A clouds.yaml that cannot be used: which file, and what is wrong with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.nova.config_folders import ConfigFolder

SECRET = "a secret that nobody shows"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ConfigFolder]:
    with LoopbackCloud() as cloud:
        yield ConfigFolder(tmp_path, cloud)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"clouds:\n  there: {", "no valid YAML in line 2"),
        (b"clouds:\n\tthere: x", "no valid YAML in line 2"),
        (b"clouds: *" + SECRET.encode(), "no valid YAML in line 1"),
        (b"\0", "no valid YAML"),
        (b"clouds: {there: {auth: {password: \xff}}}", "no valid YAML"),
    ],
)
def test_a_file_that_is_broken_is_named(
    folder: ConfigFolder, content: bytes, said: str
) -> None:
    environment = folder.use_clouds_yaml()
    path = folder.path / "clouds.yaml"
    path.write_bytes(content)

    told = folder.fails(environment)

    assert f"clouds.yaml ({path}): {said}" in told
    assert "secret" not in told
    assert "Error" not in told


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "hello",
        "clouds:",
        "clouds: {there: }",
        "clouds: {there: 5}",
        "clouds: {there: {auth: }}",
        "clouds: {there: {auth: [x]}}",
    ],
)
def test_a_file_of_another_form_is_told_in_one_line(
    folder: ConfigFolder, content: str
) -> None:
    environment = folder.use_clouds_yaml()
    (folder.path / "clouds.yaml").write_text(content)

    told = folder.fails(environment)

    assert "clouds.yaml" in told
    assert told.count("\n") == 1


def test_a_file_of_secrets_that_is_broken_is_named(
    folder: ConfigFolder,
) -> None:
    environment = folder.use_clouds_yaml()
    path = folder.path / "more.yaml"
    path.write_text("clouds: {there: {auth: [")

    told = folder.fails({**environment, "OS_CLIENT_SECURE_FILE": str(path)})

    assert f"({path}): no valid YAML in line 1" in told


def test_a_folder_is_no_file(folder: ConfigFolder) -> None:
    environment = folder.use_clouds_yaml()
    environment["OS_CLIENT_CONFIG_FILE"] = str(folder.path)

    told = folder.fails(environment)

    assert f"({folder.path}): Is a directory" in told


def test_a_password_that_is_a_number_is_not_shown(
    folder: ConfigFolder,
) -> None:
    told = folder.fails(folder.use_clouds_yaml({"password": 12345678}))

    assert "clouds.yaml: clouds.there" in told
    assert "12345678" not in told


@pytest.mark.parametrize(
    ("cloud", "said"),
    [
        ({"auth_type": "nonsense"}, "The plugin nonsense could not be found"),
        ({"profile": 5}, "openstacksdk cannot use this"),
        ({"auth_type": None}, "openstacksdk cannot use this"),
        ({"networks": [{"x": 1}]}, 'is missing required field "name"'),
    ],
)
def test_what_the_sdk_does_not_take_is_told_with_its_origin(
    folder: ConfigFolder, cloud: dict[str, Any], said: str
) -> None:
    told = folder.fails(folder.use_clouds_yaml(**cloud))

    assert "clouds.yaml: clouds.there: " in told
    assert said in told
    assert "Error" not in told


@pytest.mark.parametrize("name", ["password", "auth_url"])
def test_credentials_that_are_incomplete_are_told(
    folder: ConfigFolder, name: str
) -> None:
    del folder.auth[name]

    told = folder.fails(folder.use_clouds_yaml())

    assert "clouds.yaml: clouds.there" in told
    assert name in told
    assert "Error" not in told


def test_a_password_in_an_address_is_refused_with_its_origin(
    folder: ConfigFolder,
) -> None:
    url = folder.auth["auth_url"].replace("//", "//somebody:geheimnis@")
    where = "auth_url must be an address like"

    told = folder.fails(folder.use_clouds_yaml({"auth_url": url}))
    assert f"clouds.yaml: clouds.there: {where}" in told
    assert "geheimnis" not in json.dumps(told)

    told = folder.fails(folder.use_openrc(OS_AUTH_URL=url))
    assert f"the variables OS_*: {where}" in told
