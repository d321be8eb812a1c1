"""Plugins: found by entry points, loaded one by one when needed."""

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
from poolmgr.text import one_line, told

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

#: Held while a plugin is imported. A fork waits for it, or else the plugin
#: would stay half imported in the child, and who asks for it wait for ever.
_LOADING = threading.RLock()
os.register_at_fork(
    before=_LOADING.acquire,
    after_in_parent=_LOADING.release,
    after_in_child=_LOADING.release,
)


@dataclass(frozen=True)
class Plugin:
    """What is known of one plugin.

    :ivar kind: "action" or "driver"
    :ivar name: the entry point's name
    :ivar package: the distribution it came with, and its version
    :ivar state: "ok", "broken" or "conflict"
    :ivar error: why it cannot be used, else empty
    """

    kind: str
    name: str
    package: str
    state: str
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
        self._given = {n.upper(): cls for n, cls in (given or {}).items()}
        self._loaded: dict[str, type[T]] = {}

    def names(self) -> list[str]:
        """The names of all plugins, as they were registered."""
        found = {point.name.upper(): point.name for point in self._points}
        return sorted({*found.values(), *(self._given.keys() - found)})

    def load(self, name: str) -> type[T]:
        """The class of a plugin, imported when it is first asked for.

        :param name: its name; the case does not matter
        :raises PluginNotFound: there is none of the name
        :raises PluginConflict: there are several
        :raises PluginBroken: it cannot be imported, or is no such plugin
        """
        key = name.upper()
        if key not in self._loaded:
            with _LOADING:
                # Another thread may be first: then all have its class.
                self._loaded.setdefault(key, self._load(name))
        return self._loaded[key]

    def load_all(self) -> None:
        """Import every plugin now, so that nothing waits for it later.

        One that is broken is told in the log.

        :raises PluginConflict: two of them share a name
        """
        for name in self.names():
            try:
                self.load(name)
            except errors.PluginConflict:
                raise
            except errors.PluginError as error:
                LOG.error("%s", one_line(str(error)))

    def inspect(self) -> list[Plugin]:
        """Everything found, tried out."""
        found = []
        for point in self._points:
            try:
                self.load(point.name)
                state, reason = "ok", ""
            except errors.PluginConflict as error:
                state, reason = "conflict", str(error)
            except errors.PluginError as error:
                state, reason = "broken", str(error)
            package = _package(point)
            plugin = Plugin(self.kind, point.name, package, state, reason)
            found.append(plugin)
        return found

    @property
    def _points(self) -> list[EntryPoint]:
        found = entry_points(self.namespace)
        return sorted(found, key=lambda point: point.name.upper())

    def _find(self, name: str) -> EntryPoint:
        key = name.upper()
        points = [p for p in self._points if p.name.upper() == key]
        if not points:
            raise errors.PluginNotFound(self.kind, name, self.names())
        if len(points) > 1:
            found = sorted(f"{p.value} ({_package(p)})" for p in points)
            raise errors.PluginConflict(self.kind, name, found)
        return points[0]

    def _load(self, name: str) -> type[T]:
        given = self._given.get(name.upper())
        point = None if given else self._find(name)
        try:
            # What it prints would be taken for what a command prints.
            with contextlib.redirect_stdout(sys.stderr):
                plugin: Any = point.load() if point else given
                wrong = self._wrong(plugin)
        except BaseException as error:
            if is_interrupt(error):
                raise
            reason = told(error)
            raise errors.PluginBroken(self.kind, name, reason) from error
        if wrong is not None:
            raise errors.PluginBroken(self.kind, name, wrong)
        return plugin  # type: ignore[no-any-return]

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
        raise errors.PluginError(
            f"the entry points of a package cannot be read: {told(error)}"
        ) from error
    return found.list_entry_points()


def _package(point: EntryPoint) -> str:
    """An entry point's package, "?" if it is not known: the cache of
    stevedore does not tell it."""
    for each in importlib.metadata.entry_points(group=point.group):
        if each == point and each.dist is not None:
            return f"{each.dist.name} {each.dist.version}"
    return "?"


def known(error: BaseException, doing: str) -> errors.PoolmgrError:
    """Return the error itself if it is one of ours, else one that names it.

    :param doing: what was being done, for the log
    """
    # Not isinstance(): an object can lie about its class.
    if issubclass(type(error), errors.PoolmgrError):
        return error  # type: ignore[return-value]
    try:
        LOG.error("%s failed unexpectedly", doing, exc_info=error)
    except BaseException:  # its traceback, too, is made by a plugin
        LOG.error("%s failed unexpectedly, and cannot be shown", doing)
    failure = errors.PluginFailed(f"{doing}: {told(error)}")
    failure.__cause__ = error
    return failure


def is_interrupt(error: BaseException) -> bool:
    """Whether a signal raised this, as Ctrl-C does, and not a defect.

    Signals are handled on the main thread. SystemExit is a defect of who
    raises it: only the program may end itself.
    """
    on_main = threading.current_thread() is threading.main_thread()
    return on_main and isinstance(error, KeyboardInterrupt)


def docstring(point: EntryPoint) -> str:
    """The docstring of a plugin's class, read from its module's source.

    Nothing is imported: help must not run other people's code, nor wait
    for it.  Empty when it cannot be told.
    """
    try:
        for node in ast.parse(_source(point.module)).body:
            if isinstance(node, ast.ClassDef) and node.name == point.attr:
                return ast.get_docstring(node) or ""
    except Exception:  # of the entry point, of the file, of what is in it
        LOG.debug("no docstring of %s", point.value, exc_info=True)
    return ""


def _source(module: str) -> str:
    top, *parts = module.split(".")
    spec: Any = importlib.util.find_spec(top)
    for part in parts:
        # PathFinder, because importlib.util.find_spec() imports parents.
        spec = importlib.machinery.PathFinder.find_spec(
            f"{spec.name}.{part}", spec.submodule_search_locations
        )
    source: str = spec.loader.get_source(module)
    return source
