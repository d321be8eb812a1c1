"""The actions that are installed."""

import contextlib
from collections.abc import Mapping
from typing import Any

from poolmgr.actions import base as actions
from poolmgr.actions.base import Action
from poolmgr.errors import PluginError
from poolmgr.jobs.request import time_limit
from poolmgr.plugins import ACTIONS, Registry
from poolmgr.settings import PoolSettings


def action_plugins(
    given: Mapping[str, type[Action[Any]]] | None = None,
) -> Registry[Action[Any]]:
    """The actions that are installed, and those given."""
    return Registry("action", ACTIONS, Action, actions.defect, given)  # type: ignore[type-abstract]


def longest_job(
    actions: Registry[Action[Any]], settings: PoolSettings
) -> float:
    """Seconds that a job may take, whatever its action, clearing up included.

    Actions that cannot be loaded take none.
    """
    longest = 0.0
    for name in actions.names():
        with contextlib.suppress(PluginError, ValueError):
            longest = max(longest, time_limit(actions.load(name), settings))
    return longest
