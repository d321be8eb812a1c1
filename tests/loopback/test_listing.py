"""Tests of the loopback cloud's lists of servers: filters and pages."""

import pytest

from tests.loopback.caller import UNKNOWN_ID, Caller, message_of


def test_the_name_filter_is_a_regular_expression(caller: Caller) -> None:
    for name in ("lb-1", "lb-10", "my-LB-1"):
        caller.create_server(name)

    assert caller.list_names(name="lb-1") == ["my-LB-1", "lb-10", "lb-1"]
    assert caller.list_names(name="^lb-1$") == ["lb-1"]
    assert caller.list_names(name="lb.1") == ["my-LB-1", "lb-10", "lb-1"]
    bad = caller.compute("GET", "/servers", params={"name": "["})
    assert bad.status_code == 400


def test_servers_are_found_by_tags_and_status(caller: Caller) -> None:
    caller.create_server("a", tags=["pool", "job-1"])
    caller.create_server("b", tags=["pool"])
    failed = caller.create_server("c")
    caller.cloud.fail_server(failed)

    assert caller.list_names(tags="pool,job-1") == ["a"]
    assert caller.list_names(**{"tags-any": "pool,job-1"}) == ["b", "a"]
    assert caller.list_names(status="error") == ["c"]
    bad = caller.compute("GET", "/servers", params={"status": "bogus"})
    assert message_of(bad) == "Invalid status value"


def test_an_unknown_filter_is_refused(caller: Caller) -> None:
    answer = caller.compute("GET", "/servers", params={"colour": "red"})

    assert answer.status_code == 400


@pytest.mark.cloud(max_limit=2)
def test_a_long_list_is_split_into_pages(caller: Caller) -> None:
    for number in range(5):
        caller.create_server(f"lb-{number}")
    pages, url = [], "/servers/detail?name=lb"

    while url:
        page = caller.compute("GET", url).json()
        pages.append([server["name"] for server in page["servers"]])
        links = page.get("servers_links", [])
        url = links[0]["href"] if links else ""

    assert pages == [["lb-4", "lb-3"], ["lb-2", "lb-1"], ["lb-0"]]
    unknown = caller.compute("GET", "/servers", params={"marker": UNKNOWN_ID})
    assert message_of(unknown) == f"marker [{UNKNOWN_ID}] not found"


def test_a_limit_shortens_a_page_of_servers(caller: Caller) -> None:
    caller.create_server("a")
    caller.create_server("b")

    assert caller.list_names(limit=1) == ["b"]
    bad = caller.compute("GET", "/servers", params={"limit": "-1"})
    assert "'-1' does not match" in message_of(bad)
