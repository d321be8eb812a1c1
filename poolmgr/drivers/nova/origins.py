"""Where a setting of the cloud is set, so that a message can say it."""

import os
from dataclasses import dataclass

from poolmgr.drivers.nova.settings import NovaSettings

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
    """Says where settings come from.

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
