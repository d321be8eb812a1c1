"""A cloud's credentials: what is secret, where it is set, and where not."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError
from poolmgr.text import secrecy

# Of what keystoneauth's plugins take, what may be shown: ids, names, addresses
# and how to log in. All else is a secret.
_HARMLESS = re.compile(
    r".*[_-](id|name|url)|username|identity[_-]provider|protocol"
    r"|system[_-]scope"
)
# Loggers that keystoneauth makes when it needs them.
_SDK_LATER = tuple(
    f"keystoneauth.session{kind}"
    for kind in ("", ".request", ".response", ".body", ".request-id")
)
# Our options whose name is not the SDK's.
_OPTIONS = {
    "cacert": "cafile",
    "cert": "certfile",
    "key": "keyfile",
    "compute_endpoint_override": "compute_endpoint",
    "network_endpoint_override": "network_endpoint",
}
# Of our options, those that are used beside any credentials.
_ALWAYS = ("region_name", "interface", *_OPTIONS.values())


@dataclass(frozen=True)
class Origins:
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
        if self.settings.cloud or self.settings.auth_url:
            return self.settings.cloud
        return os.environ.get("OS_CLOUD")

    @property
    def credentials(self) -> str:
        """Where the credentials are set."""
        if self.is_given:
            return "the connection"
        if self.cloud:
            return f"clouds.yaml: clouds.{self.cloud}"
        return "[nova]" if self.settings.auth_url else "the variables OS_*"

    def of(self, name: str, group: str = "") -> str:
        """Where a setting is set, or would have to be.

        :param name: the SDK's name of it, as "region_name"
        :param group: where it is in a cloud of clouds.yaml, as "auth."
        """
        if self.is_given:
            return f"the connection's {name}"
        option = _OPTIONS.get(name, name)
        is_ours = option in _ALWAYS and getattr(self.settings, option)
        if is_ours or self.settings.auth_url:
            return f"[nova] {option}"
        if self.cloud:
            return f"clouds.yaml: clouds.{self.cloud}.{group}{name}"
        return f"OS_{name.upper()}"


def secrets_in(auth: Mapping[str, Any]) -> dict[str, str]:
    """What of credentials is secret: all that is not known to be harmless.

    :param auth: the arguments of a plugin of keystoneauth
    """
    return {
        name: value
        for name, value in auth.items()
        if not _HARMLESS.fullmatch(name) and isinstance(value, str) and value
    }


def hide(auth: Mapping[str, Any]) -> None:
    """See to it that the secrets in credentials are never shown.

    What is no secret may be shown, even if a secret is the same.
    """
    secrets = secrets_in(auth)
    secrecy.hide(*secrets.values())
    secrecy.show(*auth, *(auth[name] for name in auth.keys() - secrets))


class _Mask(logging.Filter):
    """Masks what is secret in all that a logger says."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; it always passes."""
        record.msg, record.args = secrecy.masked(record.getMessage()), None
        return True


_MASK = _Mask()


def guard_loggers() -> None:
    """Mask what is secret in what the SDK logs.

    At DEBUG it has bodies of answers in it. A program that uses the library
    may log at DEBUG; poolmgr's own calls ask for no such log, but those that
    the SDK makes by itself do.
    """
    for name in {*logging.root.manager.loggerDict, *_SDK_LATER}:
        if name.partition(".")[0] in ("keystoneauth", "openstack"):
            # A filter that is there already is not added twice.
            logging.getLogger(name).addFilter(_MASK)


def refuse_passwords(
    settings: Mapping[str, Any],
    origin: Callable[[str, str], str],
    group: str = "",
) -> None:
    """Go on only if no address has a user and a password in it.

    Libraries repeat addresses wherever they like.

    :param settings: addresses among others; ``auth`` has some, too
    :param origin: says where a setting is set, from its name and its group
    :param group: the group of the settings, as "auth."
    :raises ConfigError: one has
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            refuse_passwords(value, origin, f"{name}.")
        elif isinstance(value, str) and "://" in value:
            try:
                has_user = "@" in urlsplit(value).netloc
            except ValueError:
                continue  # no address at all, and who uses it will say so
            if has_user:
                raise ConfigError(
                    f"{origin(name, group)} must not have a user or a "
                    "password in it; there are settings for them"
                )
