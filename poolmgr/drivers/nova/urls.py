"""Addresses of the cloud's services, as people write them."""

import logging
import re
from urllib.parse import urlsplit

from poolmgr.drivers.nova.credentials import refuse_passwords
from poolmgr.errors import ConfigError
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)


def auth_url(url: str, where: str = "[nova] auth_url") -> str:
    """Keystone's address, with version 3.

    :param where: where the address is set
    :raises ConfigError: it is no address of a Keystone
    """
    bare = url.strip().rstrip("/")
    refuse_passwords({"auth_url": url}, lambda _name, _group: where)
    if not is_address(bare):
        raise ConfigError(
            f"{where} must be like https://keystone.example:5000/v3, "
            f"not {one_line(url)!r}"
        )
    if bare.endswith("/tokens"):
        # Some manuals want it so.
        raise ConfigError(
            f"{where} is the address of tokens, {one_line(url)!r}; it has to "
            "end with /v3"
        )
    newer = re.sub(r"(/v2\.0|/v3)?\Z", "", bare) + "/v3"
    if bare.endswith("/v2.0"):
        LOG.warning(
            "%s is of the Identity API 2.0, which is gone; using %s",
            where,
            one_line(newer),
        )
    return newer


def is_address(url: str) -> bool:
    """Whether a text is an address of HTTP."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(
            parts.hostname and (parts.port is None or parts.port)
        )
    except ValueError:
        return False


def nova_url(url: str | None) -> str | None:
    """Nova's address; those of Libra's days name a version that is gone."""
    newer, found = re.subn(r"/v(1\.1|2)(/[^/]+)?/?$", "/v2.1", url or "")
    if found:
        LOG.warning(
            "[nova] compute_endpoint is of a Compute API that is gone; using "
            "%s",
            one_line(newer),
        )
    return newer or None
