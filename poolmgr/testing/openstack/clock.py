"""Times as the services write them."""

from datetime import UTC, datetime, timedelta


def now_text() -> str:
    """Now, as Nova and Neutron write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def keystone_text(seconds: float) -> str:
    """So many seconds from now, as Keystone writes it."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
