"""Plugins: found by entry points, loaded one by one when needed."""

import ast
import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from itertools import chain
from typing import Generic, Literal, TypeVar

from poolmgr.errors import (
    PluginBroken,
    PluginConflict,
    PluginError,
    PluginNotFound,
)
from poolmgr.foreign import is_interrupt, told
from poolmgr.text import one_line

# stevedore keeps what it has found beneath the user's home. For a user without
# one that is a folder "~" in the current one: it would be made there, and what
# is in it would be believed. It looks for the place when it is imported.
_before = os.environ.get("XDG_CACHE_HOME")
if not os.path.isabs(_before or os.path.expanduser("~/.cache")):
    os.environ["XDG_CACHE_HOME"] = os.devnull
try:
    import stevedore as stevedore
finally:
    os.environ.pop("XDG_CACHE_HOME", None)
    if _before is not None:
        os.environ["XDG_CACHE_HOME"] = _before

LOG = logging.getLogger(__name__)

T = TypeVar("T")

ACTIONS = "poolmgr.actions"
DRIVERS = "poolmgr.drivers"


@dataclass(frozen=True)
class Plugin:
    """What is known of one plugin.

    :ivar kind: "action" or "driver"
    :ivar name: the entry point's name
    :ivar target: "module:Class"
    :ivar package: the distribution it came with, and its version
    :ivar state: "ok", "broken" or "conflict"
    :ivar error: why it cannot be used, else empty
    """

    kind: str
    name: str
    target: str
    package: str
    state: Literal["ok", "broken", "conflict"]
    error: str = ""


class Registry(Generic[T]):
    """The plugins of one kind.

    :param kind: "action" or "driver", for messages
    :param namespace: the entry points' group
    :param base: what every plugin's class has to descend from
    :param defect: says what is wrong with a class, None when nothing is
    :param given: classes to use besides, or instead of, those found; by name
    """

    def __init__(
        self,
        kind: str,
        namespace: str,
        base: type[T],
        defect: Callable[[type[T]], str | None] = lambda plugin: None,
        given: Mapping[str, type[T]] | None = None,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self._base = base
        self._defect = defect
        self._given = {self.key(n): cls for n, cls in (given or {}).items()}
        self._loaded: dict[str, type[T]] = {}

    def key(self, name: str) -> str:
        """What names are compared by; their case does not matter."""
        return name.upper()

    def names(self) -> list[str]:
        """The names of all plugins, as they were registered."""
        found = {key: points[0].name for key, points in self._points.items()}
        given = self._given.keys() - found.keys()
        return sorted({*found.values(), *given})

    def load(self, name: str) -> type[T]:
        """The class of a plugin, imported when it is first asked for.

        :raises PluginNotFound: there is none of the name
        :raises PluginConflict: there are several
        :raises PluginBroken: it cannot be imported, or is no such plugin
        """
        key = self.key(name)
        if key not in self._loaded:
            # Another thread may be first: then all have its class.
            self._loaded.setdefault(key, self._load(name))
        return self._loaded[key]

    def inspect(self) -> list[Plugin]:
        """Everything found, tried out."""
        packages = _packages(self.namespace)
        points = chain(*(self._points[key] for key in sorted(self._points)))
        return [self._inspect(point, packages[point]) for point in points]

    def _inspect(self, point: EntryPoint, package: str) -> Plugin:
        state: Literal["ok", "broken", "conflict"] = "ok"
        reason = ""
        try:
            self.load(point.name)
        except PluginError as error:
            conflict = isinstance(error, PluginConflict)
            state, reason = "conflict" if conflict else "broken", str(error)
        return Plugin(
            self.kind, point.name, point.value, package, state, reason
        )

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        found = defaultdict(list)
        for point in entry_points(self.namespace):
            found[self.key(point.name)].append(point)
        return dict(found)

    def _find(self, name: str) -> EntryPoint:
        points = self._points.get(self.key(name), [])
        if not points:
            raise PluginNotFound(self.kind, name, self.names())
        if len(points) > 1:
            packages = _packages(self.namespace)
            found = sorted(f"{p.value} ({packages[p]})" for p in points)
            raise PluginConflict(self.kind, name, found)
        if not EntryPoint.pattern.match(points[0].value):
            wrong = f"{points[0].value!r} is not like module:Class"
            raise PluginBroken(self.kind, name, wrong)
        return points[0]

    def _load(self, name: str) -> type[T]:
        given = self._given.get(self.key(name))
        load = (lambda: given) if given is not None else self._find(name).load
        try:
            # What it prints would be taken for what a command prints.
            with contextlib.redirect_stdout(sys.stderr):
                plugin = load()
                wrong = self._wrong(plugin)
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise PluginBroken(self.kind, name, told(error)) from error
        if wrong is not None:
            raise PluginBroken(self.kind, name, wrong)
        return plugin

    def _wrong(self, plugin: object) -> str | None:
        """What is wrong with what an entry point names."""
        if not (isinstance(plugin, type) and issubclass(plugin, self._base)):
            base = f"{self._base.__module__}.{self._base.__qualname__}"
            return f"{plugin!r} is not a subclass of {base}"
        defect = self._defect(plugin)
        if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
            defect = f"it lacks {', '.join(missing)}"
        where = f"{plugin.__module__}.{plugin.__qualname__}"
        return None if defect is None else f"{where}: {defect}"


def entry_points(namespace: str) -> list[EntryPoint]:
    """The entry points of a group, from stevedore's cache; none is loaded.

    :raises PluginError: a package has some that cannot be read
    """
    found: stevedore.NamedExtensionManager[object]
    try:
        found = stevedore.NamedExtensionManager(namespace, names=[])
    except Exception as error:
        raise PluginError(
            f"the entry points of {_unreadable()} cannot be read: "
            f"{told(error)}; install it again, or remove it"
        ) from error
    return found.list_entry_points()


def _unreadable() -> str:
    """The package whose entry points cannot be read."""
    for package in importlib.metadata.distributions():
        try:
            list(package.entry_points)
        except Exception:
            return one_line(str(getattr(package, "_path", package.name)))
    return "a package"


def _packages(namespace: str) -> dict[EntryPoint, str]:
    """The package of every entry point, "?" if it is not known."""
    found: dict[EntryPoint, str] = defaultdict(lambda: "?")
    for point in importlib.metadata.entry_points(group=namespace):
        # Metadata that cannot be read are as good as none.
        with contextlib.suppress(Exception):
            package = point.dist
            if package is not None and package.name:
                found[point] = f"{package.name} {package.version}"
    return found


def docstring(point: EntryPoint) -> str:
    """The docstring of a plugin's class, read from its module's source.

    Nothing is imported: help must not run other people's code, nor wait
    for it.  Empty when it cannot be told.
    """
    try:
        for node in ast.parse(_source(point.module) or "").body:
            if isinstance(node, ast.ClassDef) and node.name == point.attr:
                return ast.get_docstring(node) or ""
    except Exception:  # of the entry point, of the file, of what is in it
        LOG.debug("no docstring of %s", point.value, exc_info=True)
    return ""


def _source(module: str) -> str | None:
    spec, path, parent = None, None, ""
    for part in module.split("."):
        name = f"{parent}.{part}" if parent else part
        # PathFinder, because importlib.util.find_spec() imports parents.
        spec = (
            importlib.machinery.PathFinder.find_spec(name, path)
            if parent
            else importlib.util.find_spec(name)
        )
        if spec is None:
            return None
        path, parent = spec.submodule_search_locations, name
    get_source = getattr(spec and spec.loader, "get_source", None)
    return get_source(module) if get_source else None
