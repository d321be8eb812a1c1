"""Tests of names, marks, and the ownership of a pool."""

import pytest

from poolmgr.errors import ConfigError
from poolmgr.ownership import (
    Authority,
    Job,
    Mark,
    Ownership,
    clean_basename,
    is_device_name,
    new_name,
)
from poolmgr.settings import PoolSettings

JOB = Job("unique-1", "H:one:1", "127.0.0.1:4730")


def test_new_names_are_base_name_and_uuid() -> None:
    name = new_name(clean_basename("libra_stg_haproxy"))

    assert name.startswith("libra-stg-haproxy-")
    assert Ownership("p", "libra-stg-haproxy").of_device(name, None)
    assert new_name("libra") != new_name("libra")


def test_the_longest_base_name_makes_a_valid_host_name() -> None:
    assert len(new_name(clean_basename("a" * 26))) == 63


@pytest.mark.parametrize("basename", ["a" * 27, "", "-a", "a b", "a/b", "ä"])
def test_an_invalid_base_name_is_reported_at_start(
    basename: str,
) -> None:
    with pytest.raises(ConfigError, match=r"\[poolmgr\] basename must"):
        PoolSettings(basename=basename)


@pytest.mark.parametrize(
    "name",
    ["../os-keypairs/k", "", "a/b", "-a", "a-", ".", "..", "a" * 64, "a\n"],
)
def test_device_names_cannot_be_paths(name: str) -> None:
    assert not is_device_name(name)


@pytest.mark.parametrize(
    ("mark", "is_taken_over"),
    [
        (Mark("p", "unique-1", "H:one:1", ""), True),
        # Redelivered after the job server restarted with its queue.
        (Mark("p", "unique-1", "H:one:99", ""), True),
        # Handed over, but the answer was lost with the connection.
        (Mark("p", "unique-1", "H:one:1", "", "handed over"), True),
        # The client reuses the unique for another job.
        (Mark("p", "unique-1", "H:one:99", "", "handed over"), False),
        # The answer was not sent, or may not have arrived.
        (Mark("p", "unique-1", "H:one:99", "", "withdrawn"), True),
        (Mark("p", "unique-1", "H:one:99", "", "unconfirmed"), True),
        (Mark("p", "unique-2", "H:one:1", ""), False),
        (Mark("other", "unique-1", "H:one:1", ""), False),
    ],
)
def test_a_job_takes_over_resources_of_its_earlier_delivery(
    mark: Mark, is_taken_over: bool
) -> None:
    assert mark.is_of("p", JOB) is is_taken_over


def test_a_job_without_a_unique_takes_over_no_resource() -> None:
    assert not Mark("p", "", "H:one:1", "").is_of("p", Job("", "H:one:1"))


OURS = Mark("p", "u", "h", "")
THEIRS = Mark("q", "u", "h", "")
DEVICE_NAME = "libra-eaf1fef0-1584-11e3-b42b-02163e192df9"


@pytest.mark.parametrize(
    ("authority", "name", "mark", "ours"),
    [
        ("owned", "any-name", OURS, True),
        ("owned", DEVICE_NAME, None, False),
        ("owned", DEVICE_NAME, THEIRS, False),
        ("pattern", "any-name", OURS, True),
        ("pattern", DEVICE_NAME, None, True),
        ("pattern", DEVICE_NAME, THEIRS, False),
        ("pattern", "libra-web", None, False),
        ("pattern", DEVICE_NAME + "0", None, False),
        ("pattern", "x" + DEVICE_NAME, None, False),
        ("any", "libra-web", None, True),
        ("any", DEVICE_NAME, THEIRS, True),
    ],
)
def test_the_authority_decides_which_devices_a_pool_changes(
    authority: Authority, name: str, mark: Mark | None, ours: bool
) -> None:
    ownership = Ownership("p", "libra", authority)

    assert ownership.of_device(name, mark) is ours


@pytest.mark.parametrize(
    ("authority", "mark", "attached", "on_ours", "ours"),
    [
        ("owned", OURS, False, False, True),
        ("owned", None, False, False, False),
        ("owned", None, True, True, True),
        ("owned", THEIRS, False, False, False),
        ("pattern", None, False, False, True),
        ("pattern", None, True, False, False),
        ("pattern", None, True, True, True),
        ("pattern", THEIRS, False, False, False),
        ("any", THEIRS, True, False, True),
    ],
)
def test_the_authority_decides_which_floating_ips_a_pool_changes(
    authority: Authority,
    mark: Mark | None,
    attached: bool,
    on_ours: bool,
    ours: bool,
) -> None:
    ownership = Ownership("p", "libra", authority)

    assert ownership.of_ip(mark, attached, on_ours) is ours
