"""Tests of ``poolmgr device`` and ``poolmgr ip``."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from poolmgr.cli.inventory import DeviceList, IpList
from poolmgr.cloud import open_cloud
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import Ambiguous, NotFound
from poolmgr.ownership import Authority, Mark, Ownership
from poolmgr.reaper.inventory import Item, find_one, list_everything
from poolmgr.text import format_duration, parse_duration
from tests.processes import poolmgr

#: A name by which a pool's device is recognised without a mark.
POOL_NAME = "libra-eaf1fef0-1584-11e3-b42b-02163e192df9"
HOSTILE_NAME = "evil\x1b]0;gotcha\x07\nname"

#: The base of all ages, so that they do not depend on the tests' duration.
NOW = datetime.now(UTC)


def ago(**age: float) -> str:
    """Return the time of an age, given in units of timedelta."""
    return (NOW - timedelta(**age)).isoformat()


def mark(pool: str = "libra", unique: str = "job-1", **age: float) -> Mark:
    """Return the mark of a resource of some age."""
    return Mark(pool, unique, "H:one:1", ago(**age))


class ListedCloud(FakeCloud):
    """A cloud that lists the given resources and records its calls."""

    def __init__(
        self, devices: list[Device], ips: list[FloatingIP] | None = None
    ) -> None:
        super().__init__()
        self.devices, self.ips = devices, ips or []
        self.calls: list[str] = []

    def list_devices(self, timeout: float) -> list[Device]:
        self.calls.append("list_devices")
        return self.devices

    def list_ips(self, timeout: float) -> list[FloatingIP]:
        self.calls.append("list_ips")
        return self.ips


OURS = Device("1", "web", "active", "10.0.0.1", ago(hours=9), mark=mark())
HANDED_OVER = mark(unique="job-2").handed_over()
THEIRS = Device("4", "x", "active", "10.0.0.4", ago(days=9), mark=mark("p"))
DEVICES = [
    OURS,
    Device("2", "db", "building", None, ago(hours=1), mark=HANDED_OVER),
    Device("3", POOL_NAME, "failed", None, ago(days=3), fault="no host"),
    THEIRS,
    Device("5", "x", "active", "10.0.0.5", "last year"),
]
IPS = [
    FloatingIP("a", "198.18.0.1", "1", 1, None, ago(minutes=30)),
    FloatingIP("b", "198.18.0.2", None, 1, mark(hours=1)),
    FloatingIP("c", "198.18.0.3", "4", 1),
    FloatingIP("d", "198.18.0.4", "unlisted", 1, mark(hours=2)),
]


@pytest.fixture
def cloud() -> Iterator[ListedCloud]:
    """Yield a cloud with the devices 1 to 5 and the floating IPs a to d."""
    cloud = ListedCloud(DEVICES, IPS)
    yield cloud
    cloud.close()


def list_all(
    driver: FakeCloud, authority: Authority = "pattern"
) -> tuple[list[Item], list[Item]]:
    """Return all devices and all floating IPs of a cloud."""
    ownership = Ownership("libra", "libra", authority)
    with open_cloud(driver, timeout=10.0) as blocking:
        return blocking.wait(list_everything(blocking.cloud, ownership))


def ids(items: Iterable[Item]) -> str:
    """Return the one-letter ids of resources."""
    return "".join(item.resource.id for item in items)


@pytest.mark.parametrize(
    ("authority", "ours"),
    [("owned", "12"), ("pattern", "312"), ("any", "54312")],
)
def test_devices_of_each_authority_are_listed_oldest_first(
    cloud: ListedCloud, authority: Authority, ours: str
) -> None:
    devices, _ips = list_all(cloud, authority)

    assert ids(devices) == "54312"
    assert ids(item for item in devices if item.ours) == ours


def listed_ids(
    command: type[DeviceList | IpList], driver: FakeCloud, *args: str
) -> str:
    """Return the ids that a command lists, without starting a process."""

    class InProcess(command):  # type: ignore[misc,valid-type]
        def ask(self, question: Any) -> Any:
            ownership = Ownership("libra", "libra")
            with open_cloud(driver, timeout=10.0) as blocking:
                return blocking.wait(question(blocking.cloud, ownership))

    lister = InProcess(None, None)
    given = lister.get_parser("list").parse_args(args)
    columns, rows = lister.take_action(given)
    column = columns.index("ID")
    return "".join(row[column] for row in rows)


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        ("", "312"),
        ("--all", "54312"),
        ("--status failed", "3"),
        ("--status active --all", "541"),
        ("--state building", "1"),
        ("--state handed-over", "2"),
        ("--state unmarked", "3"),
        ("--job job-1", "1"),
        ("--job job-1 --all", "41"),
        ("--job=", ""),
        ("--name 1584", "3"),
        ("--older-than 2h", "31"),
        # A device of unknown age is not listed as older.
        ("--older-than 1d --all", "43"),
        ("--older-than 2h --status active", "1"),
    ],
)
def test_devices_can_be_filtered(
    cloud: ListedCloud, args: str, ids: str
) -> None:
    assert listed_ids(DeviceList, cloud, *args.split()) == ids
    assert cloud.calls == ["list_devices"]


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        ("", "dba"),
        ("--all", "cdba"),
        ("--attached", "da"),
        ("--unattached", "b"),
        ("--device web", "a"),
        ("--device 1", "a"),
        ("--device unlisted", "d"),
        ("--device=", ""),
        ("--job job-1 --unattached", "b"),
        ("--state unmarked", "a"),
        ("--older-than 90m --all", "d"),
    ],
)
def test_floating_ips_can_be_filtered(
    cloud: ListedCloud, args: str, ids: str
) -> None:
    assert listed_ids(IpList, cloud, *args.split()) == ids
    assert sorted(cloud.calls) == ["list_devices", "list_ips"]


def test_a_floating_ips_age_is_from_the_cloud_or_the_mark(
    cloud: ListedCloud,
) -> None:
    _devices, ips = list_all(cloud)

    ages = {item.resource.id: item.age for item in ips}
    assert ages["a"] == pytest.approx(1800, abs=1200)
    assert ages["b"] == pytest.approx(3600, abs=1800)
    assert ages["c"] is None


def test_a_time_without_a_zone_is_utc_and_a_future_time_is_now() -> None:
    naive = NOW.replace(tzinfo=None) - timedelta(hours=2)
    cloud = ListedCloud(
        [
            Device("1", "a", "active", None, naive.isoformat()),
            Device("2", "b", "active", None, ago(hours=-1)),
        ]
    )

    (naive_device, future_device), _ips = list_all(cloud)

    assert naive_device.age == pytest.approx(2 * 3600, abs=1800)
    assert future_device.age == 0


def test_a_resource_is_found_by_its_name_or_id(cloud: ListedCloud) -> None:
    devices, ips = list_all(cloud)

    assert find_one("device", "web", devices).resource is OURS
    assert find_one("device", "4", devices).resource is THEIRS
    assert find_one("floating IP", "198.18.0.1", ips).attached_to == "web"
    assert find_one("floating IP", "d", ips).attached_to == "unlisted"
    assert find_one("floating IP", "b", ips).attached_to is None
    with pytest.raises(NotFound, match="there is no device 'we'"):
        find_one("device", "we", devices)
    with pytest.raises(NotFound, match="there is no floating IP"):
        find_one("floating IP", "198.18.0", ips)
    with pytest.raises(Ambiguous, match=r"'x' \(5, 4\)"):
        find_one("device", "x", devices)


def test_an_id_takes_precedence_over_another_devices_name() -> None:
    other = Device("9", "1", "active", None, ago(days=1))

    devices, _ips = list_all(ListedCloud([other, OURS]))

    assert find_one("device", "1", devices).resource is OURS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("3d", 259200),
        ("5d 2h", 439200),
    ],
)
def test_a_duration_is_parsed(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5h", "soon", "3 x", "٣", "m"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a length of time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (192, "3m 12s"),
        (3605, "1h"),
        (439259, "5d 2h"),
        (34560000, "400d"),
    ],
)
def test_a_duration_is_printed_in_its_two_largest_units(
    seconds: int, text: str
) -> None:
    assert format_duration(seconds) == text


# -- real commands ----------------------------------------------------------


@pytest.fixture
def filled(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a cloud of four devices and three IPs."""
    state = str(tmp_path / "cloud.db")
    cloud = FakeCloud(FakeSettings(state=state))
    device = cloud.create_device("ours", mark(minutes=9), 10.0)
    cloud.create_device(HOSTILE_NAME, mark("theirs"), 10.0)
    cloud.create_device("twin", None, 10.0)
    cloud.create_device("twin", None, 10.0)
    # Not from NOW, as the commands print the present age.
    made = datetime.now(UTC) - timedelta(minutes=3, seconds=12)
    ip = cloud.create_ip(replace(mark(), made=made.isoformat()), 10.0)
    cloud.attach_ip(ip, device, 10.0)
    cloud.create_ip(mark("theirs", hours=1), 10.0)
    cloud.create_ip(None, 10.0)
    cloud.close()
    return {"OS_POOLMGR__DRIVER": "fake", "OS_FAKE__STATE": state}


def test_device_list_shows_the_pools_devices(filled: dict[str, str]) -> None:
    done = poolmgr("device", "list", "-f", "json", **filled)

    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    assert isinstance(row.pop("Age"), int)
    assert row.pop("ID")
    assert row == {
        "Name": "ours",
        "Status": "active",
        "Address": "10.0.0.1",
        "State": "building",
        "Job": "job-1",
    }


def test_a_list_shows_every_column_that_is_asked_for(
    filled: dict[str, str],
) -> None:
    args = ["list", "-f", "json", "-c", "pool", "-c", "state"]

    device = poolmgr("device", *args, **filled)
    ip = poolmgr("ip", *args, **filled)

    assert json.loads(device.stdout) == [
        {"State": "building", "Pool": "libra"}
    ]
    assert json.loads(ip.stdout)[0].keys() == {"State", "Pool"}


def test_device_list_all_shows_the_pool_and_escapes_names(
    filled: dict[str, str],
) -> None:
    done = poolmgr("device", "list", "--all", **filled)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    # Four devices, three borders and the header.
    assert done.stdout.count("\n") == 8
    (line,) = [x for x in done.stdout.splitlines() if "evil" in x]
    assert r"evil\x1b]0;gotcha\x07\nname" in line
    assert [cell.strip() for cell in line.split("|")[-3:-1]] == [
        "theirs",
        "no",
    ]


def test_control_characters_are_escaped_in_every_format(
    filled: dict[str, str],
) -> None:
    for format_ in ("csv", "json", "value", "yaml"):
        done = poolmgr("device", "list", "--all", "-f", format_, **filled)
        assert "\x1b" not in done.stdout
        assert "gotcha" in done.stdout


def test_missing_values_are_empty_and_sorted_last(
    filled: dict[str, str],
) -> None:
    columns = ("-f", "value", "-c", "Address", "-c", "Attached to")
    lines = poolmgr(
        *("ip", "list", "--all", "--sort-column", "Attached to", *columns),
        **filled,
    )
    ip = poolmgr("ip", "show", "198.18.0.2", "-f", "shell", **filled)
    device = poolmgr(
        *("device", "show", "twin-0", "-f", "shell", "-c", "fault"), **filled
    )

    assert lines.stderr == ip.stderr == ""
    assert lines.stdout.splitlines()[-1] == "198.18.0.2 "
    assert 'attached_to=""' in ip.stdout
    assert "None" not in lines.stdout + ip.stdout + device.stdout


def test_ages_are_words_in_a_table_and_seconds_in_other_formats(
    filled: dict[str, str],
) -> None:
    table = poolmgr("ip", "list", "--attached", **filled).stdout
    value = poolmgr(
        *("ip", "list", "--attached", "-f", "value"),
        *("-c", "Address", "-c", "Attached to", "-c", "Age"),
        **filled,
    ).stdout.split()

    assert "| 3m " in table
    assert value[:2] == ["198.18.0.1", "ours"]
    assert 192 <= int(value[2]) < 252


def test_ip_list_sorts_and_filters(filled: dict[str, str]) -> None:
    def addresses(*options: str) -> list[str]:
        columns = ("-f", "value", "-c", "Address")
        done = poolmgr("ip", "list", *columns, *options, **filled)
        message = "" if done.stdout else "poolmgr: no floating IPs\n"
        assert (done.returncode, done.stderr) == (0, message)
        return [line[-1] for line in done.stdout.split()]

    assert addresses() == ["3", "1"]
    assert addresses("--all") == ["3", "2", "1"]
    assert addresses("--all", "--sort-column", "Age") == ["1", "2", "3"]
    # In a table ages are words, and one may be missing.
    table = poolmgr("ip", "list", "--all", "--sort-column", "Age", **filled)
    assert re.findall(r"198\.18\.0\.(\d)", table.stdout) == ["1", "2", "3"]
    assert addresses("--unattached", "--state", "unmarked") == ["3"]
    assert addresses("--all", "--older-than", "30m") == ["2"]
    assert addresses("--state", "handed over") == []
    assert addresses("--device", "ours", "--job", "job-1") == ["1"]


def test_show_prints_all_fields_of_a_resource(filled: dict[str, str]) -> None:
    done = poolmgr("device", "show", "ours", "-f", "json", **filled)
    device = json.loads(done.stdout)
    ip = json.loads(
        poolmgr("ip", "show", "198.18.0.1", "-f", "json", **filled).stdout
    )

    assert device["floating_ips"] == ["198.18.0.1"]
    assert device["created"].endswith("+00:00")
    assert (device["ours"], device["fault"]) == (True, None)
    assert (device["job"], device["handle"]) == ("job-1", "H:one:1")
    assert (ip["attached_to"], ip["device_id"]) == ("ours", device["id"])
    assert ip["created"] == ip["made"]
    by_id = poolmgr(
        *("device", "show", device["id"], "-f", "value", "-c", "name"),
        **filled,
    )
    assert by_id.stdout == "ours\n"


def test_show_prints_resources_of_another_pool(filled: dict[str, str]) -> None:
    done = poolmgr("ip", "show", "198.18.0.2", **filled)

    assert done.returncode == 0
    assert "| ours        | no " in done.stdout
    assert "| pool        | theirs " in done.stdout
    assert "| attached_to |   " in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["device", "show", "no\x1b"], 1, r"there is no device 'no\x1b'"),
        (["device", "show", "twin"], 1, "2 devices are named 'twin'"),
        (["ip", "show", "::1"], 1, "there is no floating IP '::1'"),
        (["ip", "list", "--older-than", "soon"], 2, "10m, 2h or 3d, not"),
        (["device", "list", "--status", "odd"], 2, "invalid choice: 'odd'"),
    ],
)
def test_an_error_is_reported_in_one_line(
    filled: dict[str, str], args: list[str], code: int, words: str
) -> None:
    done = poolmgr(*args, **filled)

    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr.splitlines()[-1]
    assert code == 2 or done.stderr.count("\n") == 1


def test_a_failure_of_the_cloud_is_reported_in_one_line(
    filled: dict[str, str],
) -> None:
    done = poolmgr(
        *("ip", "list"),
        OS_FAKE__CALL_FAILURE_RATE="1",
        OS_POOLMGR__SHORT_TIMEOUT="0.5",
        **filled,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "poolmgr: the fake cloud let the call fail\n"


def test_a_list_ends_with_the_short_timeout(filled: dict[str, str]) -> None:
    done = poolmgr(
        *("device", "list"),
        OS_FAKE__CALL_TIME="60",
        OS_POOLMGR__SHORT_TIMEOUT="0.1",
        **filled,
    )

    assert done.returncode == 1
    assert "not done within 0.1 s" in done.stderr
