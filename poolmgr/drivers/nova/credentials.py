"""Credentials: which are used, what of them is secret, and where they are."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from keystoneauth1.loading import get_plugin_loader
from openstack.config.loader import CONFIG_FILES, SECURE_FILES

from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError
from poolmgr.text import one_line, secrecy

#: What goes before the same of any credentials: the SDK's name, and ours.
_OVERRIDES = {
    "region_name": "region_name",
    "interface": "interface",
    "cacert": "cafile",
    "cert": "certfile",
    "key": "keyfile",
    "compute_endpoint_override": "compute_endpoint",
    "network_endpoint_override": "network_endpoint",
}
#: What each way to log in needs.
_NEEDED = {
    "password": "password",
    "v3token": "token",
    "v3applicationcredential": "application_credential_secret",
}
_NAMED = (
    "name the cloud by --os-cloud, OS_CLOUD or [nova] cloud, or give "
    "[nova] auth_url and the credentials"
)
# Of what keystoneauth's plugins take, what may be shown: ids, names, addresses
# and how to log in. All else is a secret.
_HARMLESS = re.compile(
    r".*[_-](id|name|url)|username|identity[_-]provider|protocol"
    r"|system[_-]scope"
)
_ADDRESS = re.compile(
    r"https?://([^\s/@?#:\[\]]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[^\s?#]*)?"
)


@dataclass(frozen=True)
class Origin:
    """Says where settings come from, so that a message can.

    :ivar settings: the group ``[nova]``
    :ivar is_given: whether the caller made the connection: then its settings
        are not ours to know
    """

    settings: NovaSettings
    is_given: bool = False

    @property
    def cloud(self) -> str | None:
        """The name of the cloud in clouds.yaml, None if there is none."""
        if self.is_given or self.settings.auth_url:
            return None
        return self.settings.cloud or os.environ.get("OS_CLOUD")

    def __str__(self) -> str:
        """Where the credentials are set."""
        if self.is_given:
            return "the connection"
        if self.cloud:
            return f"clouds.yaml: clouds.{self.cloud}"
        return "[nova]" if self.settings.auth_url else "the variables OS_*"

    def of(self, name: str) -> str:
        """Where a setting is set, or would have to be.

        :param name: the SDK's name of it, as "cacert"
        """
        option = _OVERRIDES.get(name)
        is_set = option and getattr(self.settings, option)
        if str(self) == "[nova]" or (is_set and not self.is_given):
            return f"[nova] {option or name}"
        return f"{self}: {name}"

    def check_address(self, name: str, url: str) -> str:
        """An address without what is around it.

        :param name: the SDK's name of the setting
        :raises ConfigError: it is none; nor may it have a password in it, for
            libraries repeat addresses wherever they like
        """
        bare = url.strip().rstrip("/")
        if not is_address(bare) or bare.endswith("/tokens"):
            raise ConfigError(
                f"{self.of(name)} must be an address like "
                "https://cloud.example:5000/v3, without a user, a password "
                f"or a query, not {one_line(secrecy.masked(url))!r}"
            )
        return bare


def is_address(url: str) -> bool:
    """Whether a text is an address of HTTP, with no more than a path."""
    return _ADDRESS.fullmatch(url) is not None


def wanted_of(origin: Origin) -> dict[str, Any]:
    """What to ask the SDK for: a cloud of clouds.yaml, or credentials.

    :raises ConfigError: nothing says which cloud, or something is missing
    """
    settings = origin.settings
    secrecy.show(origin.cloud, _NAMED)
    found = {name: getattr(settings, o) for name, o in _OVERRIDES.items()}
    wanted = {name: value for name, value in found.items() if value}
    if settings.insecure:
        wanted["verify"] = False
    if origin.cloud:
        for _path, auth in _credentials_in_files(origin):
            hide(auth)
        return {"cloud": origin.cloud, **wanted}
    if settings.auth_url:
        plugin, auth = _login(settings)
        return {"auth_type": plugin, "auth": auth, **wanted}
    if os.environ.get("OS_AUTH_URL"):
        return wanted
    raise ConfigError(f"[nova]: no cloud is configured; {_NAMED}")


def secret_files(origin: Origin) -> Iterator[tuple[str, str]]:
    """Each file that has a secret of ours, and the name of one in it."""
    if origin.settings.keyfile and not origin.is_given:
        yield origin.settings.keyfile, "[nova] keyfile"
    for path, auth in _credentials_in_files(origin):
        for name in sorted(_secrets_in(auth))[:1]:
            yield path, f"clouds.{origin.cloud}.auth.{name}"


def hide(auth: Mapping[str, Any]) -> None:
    """See to it that the secrets in credentials are never shown.

    What is no secret may be shown, even if a secret is the same.
    """
    secrets = _secrets_in(auth)
    secrecy.hide(*secrets.values())
    secrecy.show(*auth, *(auth[name] for name in auth.keys() - secrets))


def _secrets_in(auth: Mapping[str, Any]) -> dict[str, str]:
    """What of credentials is secret: all that is not known to be harmless.

    YAML takes 1234 for a number, which may be a password.
    """
    return {
        name: str(value)
        for name, value in auth.items()
        if not _HARMLESS.fullmatch(name) and value
    }


def _login(settings: NovaSettings) -> tuple[str, Mapping[str, str]]:
    """The plugin of ``[nova]``, and its credentials."""
    needed = _NEEDED[settings.auth_type]
    plugin = f"v3{settings.auth_type.removeprefix('v3')}"
    names = {option.dest for option in get_plugin_loader(plugin).get_options()}
    if plugin == "v3applicationcredential":
        # It has a project, and Keystone refuses to hear of one.
        names = {name for name in names if not name.startswith("project_")}
    found = {name: getattr(settings, name, None) for name in names}
    auth = {name: value for name, value in found.items() if value}
    hide(auth)
    if needed not in auth:
        raise ConfigError(
            f"[nova] {needed} is missing (auth_type is {settings.auth_type})"
        )
    if needed == "password" and not ({"username", "user_id"} & {*auth}):
        raise ConfigError("[nova] username is missing")
    # Names are names in a domain; Libra's options know of none.
    for what, name in (("user", "username"), ("project", "project_name")):
        if name in auth and f"{what}_domain_name" not in auth:
            auth.setdefault(f"{what}_domain_id", "default")
    return plugin, auth


def _credentials_in_files(origin: Origin) -> Iterator[tuple[str, Any]]:
    """What each file that the SDK reads has of our cloud's ``auth``.

    :raises ConfigError: one is broken; the SDK would skip it
    """
    for variable, usual in (
        ("OS_CLIENT_CONFIG_FILE", CONFIG_FILES),
        ("OS_CLIENT_SECURE_FILE", SECURE_FILES),
    ):
        given = os.environ.get(variable)
        # Of each kind it reads the first that it can.
        paths = [given, *usual] if given else usual
        for path in [p for p in paths if os.access(p, os.R_OK)][:1]:
            found = _read_yaml(path) if origin.cloud else None
            for name in ("clouds", origin.cloud, "auth"):
                found = found.get(name) if isinstance(found, dict) else None
            if isinstance(found, dict):
                yield path, {str(name): value for name, value in found.items()}


def _read_yaml(path: str) -> Any:
    """What is in a file, of JSON perhaps, which is YAML, too."""
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except OSError as error:
        why = str(error.strerror)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # What is there may be a secret; only the place is told.
        mark = getattr(error, "problem_mark", None)
        why = f"no valid YAML{f' in line {mark.line + 1}' if mark else ''}"
    raise ConfigError(one_line(f"clouds.yaml ({path}): {why}"))
