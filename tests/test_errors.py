"""Errors can be copied, pickled and sent between processes."""

import collections.abc
import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
import typing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import poolmgr
from poolmgr import errors
from poolmgr.errors import PoolmgrError

_SAMPLES: dict[Any, object] = {
    str: "libra-1 \N{SNOWMAN}",
    int: 503,
    float: 2.5,
    bool: True,
    object: LookupError("so"),
    collections.abc.Sequence: ("a", "b"),
    collections.abc.Mapping: {"name": "libra-1", "nested": [1, None]},
}


def kinds(base: type[PoolmgrError]) -> Iterator[type[PoolmgrError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def all_kinds() -> list[type[PoolmgrError]]:
    """Return all error classes of poolmgr."""
    for module in pkgutil.walk_packages(poolmgr.__path__, "poolmgr."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = set(kinds(PoolmgrError))
    mine = [k for k in found if k.__module__.startswith("poolmgr.")]
    return sorted(mine, key=lambda kind: (kind.__module__, kind.__name__))


def sample(kind: type[PoolmgrError]) -> PoolmgrError:
    """Create an error of a class with sample values."""
    if not inspect.isfunction(kind.__init__):
        return kind("what went wrong")
    hints = typing.get_type_hints(kind.__init__)
    values = {}
    for name in list(inspect.signature(kind.__init__).parameters)[1:]:
        origin = typing.get_origin(hints[name]) or hints[name]
        values[name] = _SAMPLES[origin]
    return kind(**values)


def unpickled(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - our own


def assert_same(copied: BaseException, error: PoolmgrError) -> None:
    assert type(copied) is type(error)
    assert isinstance(copied, PoolmgrError)
    assert (str(copied), repr(copied)) == (str(error), repr(error))
    assert vars(copied) == vars(error)
    for name in ("code", "retryable", "answer", "retry_after"):
        assert getattr(copied, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
def test_errors_can_be_copied_and_pickled(kind: type[PoolmgrError]) -> None:
    error = sample(kind)

    assert_same(copy.copy(error), error)
    assert_same(copy.deepcopy(error), error)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert_same(unpickled(pickle.dumps(error, protocol)), error)


def fail() -> None:
    """Raise an error with several attributes."""
    error = errors.DeviceNotDeleted("not deleted", {"name": "libra-1"})
    error.add_note("a note")
    raise error


def test_errors_cross_process_boundaries() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        error = pool.submit(fail).exception(120.0)

    assert isinstance(error, errors.DeviceNotDeleted)
    assert str(error) == "not deleted"
    assert error.answer == {"name": "libra-1"}
    assert error.__notes__ == ["a note"]


def test_an_error_with_unpicklable_values_keeps_its_text() -> None:
    class Response:
        """An object of a library."""

        def __str__(self) -> str:
            return "503 of nova"

        def __reduce__(self) -> str:
            raise TypeError("has a lock")

    error = errors.CloudError(Response())

    assert str(unpickled(pickle.dumps(error))) == "503 of nova"
    assert str(copy.deepcopy(error)) == "503 of nova"


class KeywordsOnly(errors.CloudUnavailable):
    """A third-party driver's error that takes only keywords."""

    def __init__(self, *, host: str) -> None:
        super().__init__(f"{host} is down")
        self.host = host


def test_third_party_errors_cross_process_boundaries() -> None:
    error = KeywordsOnly(host="nova")

    for copied in (
        copy.copy(error),
        copy.deepcopy(error),
        unpickled(pickle.dumps(error)),
    ):
        assert_same(copied, error)
