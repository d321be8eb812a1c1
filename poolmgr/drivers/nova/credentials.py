"""Which of a cloud's settings are secrets, and where they do not belong."""

from collections.abc import Mapping
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
    """See to it that the secrets in credentials are never shown."""
    secrecy.hide(*secrets_in(auth).values())


def refuse_passwords(settings: Mapping[str, Any]) -> None:
    """Go on only if no address has a user and a password in it.

    Libraries repeat addresses wherever they like.

    :param settings: addresses among others; ``auth`` has some, too
    :raises ConfigError: one has
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            refuse_passwords(value)
        elif isinstance(value, str) and "://" in value:
            try:
                has_user = "@" in urlsplit(value).netloc
            except ValueError:
                continue  # no address at all, and who uses it will say so
            if has_user:
                raise ConfigError(
                    f"[nova] {name} must not have a user or a password in it; "
                    "there are settings for them"
                )
