"""Which of a cloud's settings are secrets, and where they do not belong."""

import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from poolmgr import secrecy
from poolmgr.errors import ConfigError

# Of what keystoneauth's plugins take, what may be shown.
_HARMLESS = (
    "auth_url",
    "application_credential_id",
    "application_credential_name",
    "default_domain_id",
    "default_domain_name",
    "domain_id",
    "domain_name",
    "identity_provider",
    "project_domain_id",
    "project_domain_name",
    "project_id",
    "project_name",
    "protocol",
    "system_scope",
    "tenant_id",
    "tenant_name",
    "trust_id",
    "user_domain_id",
    "user_domain_name",
    "user_id",
    "username",
)


# Loggers that keystoneauth makes when it needs them.
_SDK_LATER = tuple(
    f"keystoneauth.session{kind}"
    for kind in ("", ".request", ".response", ".body", ".request-id")
)


def secrets_in(auth: Mapping[str, Any]) -> dict[str, str]:
    """What of credentials is secret: all that is not known to be harmless.

    :param auth: the arguments of a plugin of keystoneauth
    """
    return {
        name: value
        for name, value in auth.items()
        if name.replace("-", "_") not in _HARMLESS
        and isinstance(value, str)
        and value
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
    known = [*logging.root.manager.loggerDict]
    for name in {*known, *_SDK_LATER}:
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
