"""Tests of marks as the Nova driver writes and reads them."""

import string
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poolmgr.drivers.nova import marks
from poolmgr.ownership import Job, Mark, State

UNIQUE = "458f9bab-cfed-4395-86b9-6d4070566993"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
some_marks = st.builds(
    Mark,
    pool=st.text(string.ascii_letters + "-_.", min_size=1, max_size=40),
    unique=texts,
    handle=texts,
    made=st.just("2026-11-24T05:50:21+00:00"),
    state=st.sampled_from(get_args(State)),
    taken=st.integers(0, 10**9 - 1),
)


@given(some_marks)
def test_a_mark_is_read_back_from_server_metadata(mark: Mark) -> None:
    metadata = marks.metadata_of(mark)

    assert marks.mark_in({**metadata, "role": "haproxy"}) == mark
    for key, value in metadata.items():
        assert key.startswith("poolmgr_")
        assert value.isascii()
        assert value.isprintable()


@given(some_marks)
def test_only_a_long_handle_is_dropped_from_a_description(mark: Mark) -> None:
    assume(len(mark.unique.encode()) <= 63)  # Gearman's limit

    description = marks.description_of(mark)
    read, device = marks.mark_in_description(description)

    assert len(description) <= 255
    assert description.isascii()
    assert device == ""
    assert read is not None
    assert replace(read, handle=mark.handle) == mark
    assert read.handle in (mark.handle, "")
    assert mark.is_still(read)


def test_the_mark_of_a_gearman_job_fits_into_a_description() -> None:
    handle = f"H:{'h' * 50}:123456"
    mark = Mark.for_job("p" * 40, Job(UNIQUE, handle)).handed_over()

    read, _device = marks.mark_in_description(marks.description_of(mark))

    assert read == mark


def test_a_description_names_the_device_it_belongs_to() -> None:
    mark = Mark.for_job("libra", Job(UNIQUE, "H:a:1"))

    description = marks.description_of(mark, "4df04b17")

    assert marks.mark_in_description(description) == (mark, "4df04b17")


@pytest.mark.parametrize(
    "description",
    [
        "",
        "somebody else's",
        "poolmgr",
        "poolmgr pool= state=building",
        "poolmgr pool=libra state=",
        "poolmgrs pool=libra state=building",
    ],
)
def test_foreign_descriptions_are_not_marks(description: str) -> None:
    assert marks.mark_in_description(description)[0] is None


def test_foreign_metadata_are_not_a_mark() -> None:
    assert marks.mark_in({"pool": "libra", "poolmgr_pool": "x"}) is None


def test_pool_and_unique_of_a_newer_versions_mark_are_read() -> None:
    # A resource whose mark is not understood must not look like an orphan.
    metadata = {
        "poolmgr_pool": "libra",
        "poolmgr_unique": UNIQUE,
        "poolmgr_state": "on-loan",
        "poolmgr_taken": "five",
    }
    text = f"poolmgr pool=libra unique={UNIQUE} state=on-loan colour=red"

    read = marks.mark_in(metadata)

    assert read == Mark("libra", UNIQUE, "", "", "on-loan")
    assert marks.mark_in_description(text) == (read, "")
    assert not read.is_left
    assert not read.is_of("libra", Job(UNIQUE, "H:a:1"))


def test_tags_are_valid_and_unique() -> None:
    odd = Mark("libra", "un/ique, \n", "H:a:1", "")
    plain = Mark("libra", UNIQUE, "H:a:1", "")
    nameless = Mark("libra", "", "H:a:1", "")
    tags = [
        *marks.tags_of(odd, "a"),
        *marks.tags_of(plain, "a"),
        *marks.tags_of(nameless, "a"),
        *marks.tags_of(nameless, "b"),
    ]

    for tag in tags:
        assert 0 < len(tag) <= 60
        assert "/" not in tag
        assert "," not in tag
    # One for the pool, and one for each job.
    assert len(set(tags)) == 5


def test_concurrent_mark_changes_of_two_workers_combine() -> None:
    given = Mark.for_job("p", Job(UNIQUE, "H:a:1")).handed_over()
    metadata = marks.metadata_of(given)
    taken_over = given.taken_over_by(Job(UNIQUE, "H:a:2")).handed_over()
    changes = [
        marks.changes(given.withdrawn(), given),
        marks.changes(taken_over, given),
    ]

    for first, second in (changes, reversed(changes)):
        assert marks.mark_in({**metadata, **first, **second}) == taken_over
    assert marks.mark_in({**metadata, **changes[0]}) == given.withdrawn()
