"""Tests of errors in clouds.yaml."""

import json
from typing import Any

import pytest

from tests.nova.config_folders import ConfigFolder

SECRET = "a secret"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"clouds:\n  mycloud: {", "no valid YAML in line 2"),
        (b"clouds:\n\tmycloud: x", "no valid YAML in line 2"),
        (b"clouds: *" + SECRET.encode(), "no valid YAML in line 1"),
        (b"\0", "no valid YAML"),
        (b"clouds: {mycloud: {auth: {password: \xff}}}", "no valid YAML"),
    ],
)
def test_a_malformed_file_is_named_without_its_content(
    folder: ConfigFolder, content: bytes, problem: str
) -> None:
    environment = folder.use_clouds_yaml()
    path = folder.path / "clouds.yaml"
    path.write_bytes(content)

    output = folder.fails(environment)

    assert f"clouds.yaml ({path}): {problem}" in output
    assert "secret" not in output
    assert "Error" not in output


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "hello",
        "clouds:",
        "clouds: {mycloud: }",
        "clouds: {mycloud: 5}",
        "clouds: {mycloud: {auth: }}",
        "clouds: {mycloud: {auth: [x]}}",
    ],
)
def test_a_file_of_another_structure_is_reported_in_one_line(
    folder: ConfigFolder, content: str
) -> None:
    environment = folder.use_clouds_yaml()
    (folder.path / "clouds.yaml").write_text(content)

    output = folder.fails(environment)

    assert "clouds.yaml" in output
    assert output.count("\n") == 1


def test_a_malformed_secure_file_is_named(
    folder: ConfigFolder,
) -> None:
    environment = folder.use_clouds_yaml()
    path = folder.path / "more.yaml"
    path.write_text("clouds: {mycloud: {auth: [")

    output = folder.fails({**environment, "OS_CLIENT_SECURE_FILE": str(path)})

    assert f"({path}): no valid YAML in line 1" in output


def test_a_folder_in_place_of_the_file_is_reported(
    folder: ConfigFolder,
) -> None:
    environment = folder.use_clouds_yaml()
    environment["OS_CLIENT_CONFIG_FILE"] = str(folder.path)

    output = folder.fails(environment)

    assert f"({folder.path}): Is a directory" in output


def test_a_numeric_password_is_not_shown(
    folder: ConfigFolder,
) -> None:
    output = folder.fails(folder.use_clouds_yaml({"password": 12345678}))

    assert "clouds.yaml: clouds.mycloud" in output
    assert "12345678" not in output


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"auth_type": "nonsense"}, "The plugin nonsense could not be found"),
        ({"profile": 5}, "openstacksdk cannot use this"),
        ({"auth_type": None}, "openstacksdk cannot use this"),
        ({"networks": [{"x": 1}]}, 'is missing required field "name"'),
    ],
)
def test_a_value_refused_by_the_sdk_is_reported_with_its_origin(
    folder: ConfigFolder, keys: dict[str, Any], problem: str
) -> None:
    output = folder.fails(folder.use_clouds_yaml(**keys))

    assert "clouds.yaml: clouds.mycloud: " in output
    assert problem in output
    assert "Error" not in output


@pytest.mark.parametrize("name", ["password", "auth_url"])
def test_a_missing_credential_is_reported(
    folder: ConfigFolder, name: str
) -> None:
    del folder.auth[name]

    output = folder.fails(folder.use_clouds_yaml())

    assert "clouds.yaml: clouds.mycloud" in output
    assert name in output
    assert "Error" not in output


def test_a_password_in_auth_url_is_refused_with_its_origin(
    folder: ConfigFolder,
) -> None:
    url = folder.auth["auth_url"].replace("//", "//somebody:geheimnis@")
    problem = "auth_url must be an address like"

    output = folder.fails(folder.use_clouds_yaml({"auth_url": url}))
    assert f"clouds.yaml: clouds.mycloud: {problem}" in output
    assert "geheimnis" not in json.dumps(output)

    output = folder.fails(folder.use_openrc(OS_AUTH_URL=url))
    assert f"the variables OS_*: {problem}" in output
