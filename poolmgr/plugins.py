"""Plugins: found by entry points, imported when they are first needed."""

import ast
import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from poolmgr import errors
from poolmgr.text import describe, one_line

# stevedore caches entry points under the user's home. If the user has no home,
# it would create a directory "~" in the current one, and trust its contents.
# It looks the directory up when it is imported.
_cache_home = os.environ.get("XDG_CACHE_HOME")
if not os.path.isabs(_cache_home or os.path.expanduser("~/.cache")):
    os.environ["XDG_CACHE_HOME"] = os.devnull
try:
    import stevedore as stevedore
finally:
    os.environ.pop("XDG_CACHE_HOME", None)
    if _cache_home is not None:
        os.environ["XDG_CACHE_HOME"] = _cache_home

LOG = logging.getLogger(__name__)

T = TypeVar("T")

ACTIONS = "poolmgr.actions"
DRIVERS = "poolmgr.drivers"

# Held while a plugin is imported. A fork waits for it; otherwise the module's
# import lock could stay locked in the child.
_IMPORTING = threading.RLock()
os.register_at_fork(
    before=_IMPORTING.acquire,
    after_in_parent=_IMPORTING.release,
    after_in_child=_IMPORTING.release,
)


@dataclass(frozen=True)
class Plugin:
    """An installed plugin and its state.

    :ivar kind: "action" or "driver"
    :ivar name: the name of its entry point
    :ivar package: name and version of its distribution
    :ivar state: "ok", "broken" or "conflict"
    :ivar error: why it cannot be used; empty if it can
    """

    kind: str
    name: str
    package: str
    state: str
    error: str = ""


class Registry(Generic[T]):
    """The plugins of one kind.

    :param kind: "action" or "driver", for messages
    :param namespace: the group of the entry points
    :param base: the class that plugins must be subclasses of
    :param defect: returns what is wrong with a class, or None
    :param given: classes by name; they take precedence over entry points
    """

    def __init__(
        self,
        kind: str,
        namespace: str,
        base: type[T],
        defect: Callable[[type[T]], str | None] = lambda plugin: None,
        given: Mapping[str, type[T]] | None = None,
    ) -> None:
        self._kind = kind
        self._namespace = namespace
        self._base = base
        self._defect = defect
        self._given = {n.upper(): cls for n, cls in (given or {}).items()}
        # A broken plugin is not imported again for each job.
        self._loaded: dict[str, type[T] | errors.PluginBroken] = {}

    def names(self) -> list[str]:
        """Return the sorted names of all plugins."""
        found = {p.name.upper(): p.name for p in entry_points(self._namespace)}
        return sorted({*found.values(), *(self._given.keys() - found)})

    def load(self, name: str) -> type[T]:
        """Return a plugin's class; the first call imports it.

        :param name: the plugin's name, in upper or lower case
        :raises PluginNotFound: no plugin has the name
        :raises PluginConflict: several plugins have the name
        :raises PluginBroken: it cannot be imported, or its class is wrong
        """
        key = name.upper()
        if key not in self._loaded:
            with _IMPORTING:
                self._loaded[key] = self._load(name)
        found = self._loaded[key]
        if isinstance(found, errors.PluginBroken):
            raise errors.PluginBroken(str(found)) from found.__cause__
        return found

    def load_all(self) -> None:
        """Import all plugins now, and log the broken ones.

        :raises PluginConflict: two plugins have the same name
        """
        for name in self.names():
            try:
                self.load(name)
            except errors.PluginBroken as error:
                LOG.error("%s", one_line(str(error)))

    def inspect(self) -> list[Plugin]:
        """Load all installed plugins and return their states."""
        found = []
        points = entry_points(self._namespace)
        for point in sorted(points, key=lambda point: point.name.upper()):
            state, reason = "ok", ""
            try:
                self.load(point.name)
            except errors.PluginError as error:
                state, reason = error.code.removeprefix("plugin_"), str(error)
            row = self._kind, point.name, _package(point), state, reason
            found.append(Plugin(*row))
        return found

    def _load(self, name: str) -> type[T] | errors.PluginBroken:
        cause: BaseException | None = None
        given = self._given.get(name.upper())
        point = None if given else self._find(name)
        try:
            # A plugin's output would mix with the output of a command.
            with contextlib.redirect_stdout(sys.stderr):
                plugin: Any = point.load() if point else given
                problem = self._check(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problem, cause = describe(error), error
        if problem is not None:
            text = f"{self._kind} {name!r} cannot be loaded: {problem}"
            plugin = errors.PluginBroken(text)
            plugin.__cause__ = cause
        return plugin  # type: ignore[no-any-return]

    def _find(self, name: str) -> EntryPoint:
        found = entry_points(self._namespace)
        points = [p for p in found if p.name.upper() == name.upper()]
        if not points:
            raise errors.PluginNotFound(self._kind, name, self.names())
        if len(points) > 1:
            providers = sorted(f"{p.value} ({_package(p)})" for p in points)
            raise errors.PluginConflict(
                f"{self._kind} {name!r} is refused: it is provided by "
                f"{' and by '.join(providers)}; uninstall all but one"
            )
        return points[0]

    def _check(self, plugin: object) -> str | None:
        """Return what is wrong with an entry point's object, or None."""
        if not (isinstance(plugin, type) and issubclass(plugin, self._base)):
            base = f"{self._base.__module__}.{self._base.__qualname__}"
            return f"{plugin!r} is not a subclass of {base}"
        defect = self._defect(plugin)
        if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
            defect = f"it lacks {', '.join(missing)}"
        where = f"{plugin.__module__}.{plugin.__qualname__}"
        return None if defect is None else f"{where}: {defect}"


def entry_points(namespace: str) -> list[EntryPoint]:
    """Return a group's entry points from stevedore's cache; import none.

    :raises PluginError: a package's entry points cannot be read
    """
    found: stevedore.NamedExtensionManager[object]
    try:
        # Without names it loads none.
        found = stevedore.NamedExtensionManager(namespace, names=[])
    except Exception as error:
        raise errors.PluginError(
            f"the entry points of a package cannot be read: {describe(error)}"
        ) from error
    return found.list_entry_points()


def _package(point: EntryPoint) -> str:
    """Return the name and version of an entry point's distribution."""
    # stevedore's cache does not have the distributions.
    found = importlib.metadata.entry_points(group=point.group)
    dist = next((each.dist for each in found if each == point), None)
    return f"{dist.name} {dist.version}" if dist else "?"


def as_poolmgr_error(error: BaseException, doing: str) -> errors.PoolmgrError:
    """Return a plugin's error, converted to PluginFailed if unexpected.

    An unexpected error is logged with its traceback.

    :param doing: what failed, for the log and the error
    """
    # isinstance() would believe an object that lies about its class.
    if issubclass(type(error), errors.PoolmgrError):
        return error  # type: ignore[return-value]
    try:
        LOG.error("%s failed unexpectedly", doing, exc_info=error)
    except BaseException:  # raised by a method of the plugin's error
        LOG.error("%s failed unexpectedly; its error cannot be shown", doing)
    failure = errors.PluginFailed(f"{doing}: {describe(error)}")
    failure.__cause__ = error
    return failure


def docstring(point: EntryPoint) -> str:
    """Return the docstring of a plugin's class, or "" if there is none.

    It is parsed from the source: ``--help`` must not run plugins.
    """
    try:
        for node in ast.parse(_source(point.module)).body:
            if isinstance(node, ast.ClassDef) and node.name == point.attr:
                return ast.get_docstring(node) or ""
    except Exception:  # the entry point, the file, or its content is wrong
        LOG.debug("no docstring of %s", point.value, exc_info=True)
    return ""


def _source(module: str) -> str:
    top, *parts = module.split(".")
    spec: Any = importlib.util.find_spec(top)
    for part in parts:
        # importlib.util.find_spec() would import the parent packages.
        spec = importlib.machinery.PathFinder.find_spec(
            f"{spec.name}.{part}", spec.submodule_search_locations
        )
    source: str = spec.loader.get_source(module)
    return source
