"""Which files the secrets of a cloud come from."""

from typing import Any

from poolmgr.drivers.nova.credentials import secrets_in
from poolmgr.drivers.nova.settings import NovaSettings


def secret_files(
    settings: NovaSettings, cloud: str | None
) -> list[tuple[str, str]]:
    """The files with a secret that are in use, and what is in them.

    :param cloud: the cloud's name in clouds.yaml, None without
    :returns: each file, and the name of a secret in it
    """
    found = []
    if settings.keyfile:
        found.append((settings.keyfile, "[nova] keyfile"))
    if cloud:
        found += _in_clouds_yaml(cloud)
    return found


def _in_clouds_yaml(cloud: str) -> list[tuple[str, str]]:
    from openstack.config import OpenStackConfig

    config = OpenStackConfig()
    files = (
        getattr(config, "config_filename", None),
        getattr(config, "secure_config_filename", None),
    )
    found = []
    for path in filter(None, files):
        for name in _secrets(path, cloud):
            found.append((path, f"clouds.{cloud}.auth.{name}"))
            break
    return found


def _secrets(path: str, cloud: str) -> list[str]:
    """The names of the secrets of a cloud in one of the files."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            text: Any = yaml.safe_load(file)
        auth = text["clouds"][cloud].get("auth") or {}
        return sorted(secrets_in(auth))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    except yaml.YAMLError:
        return []
