"""Tests of the checks of every option's value, wherever it is set.

The options are those of poolmgr and of both drivers.
"""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.cli.config import convert
from poolmgr.config.configuration import Configuration
from poolmgr.config.options import format_value, keys_of, options_in
from poolmgr.drivers.fake import FakeSettings
from poolmgr.drivers.nova import NovaSettings
from poolmgr.errors import ConfigError
from poolmgr.settings import Option
from tests.jobservers import JobServerProcess
from tests.processes import poolmgr, worker

SECRET = "planted-secret"


def every() -> Iterator[Option]:
    """Yield every option."""
    conf = Configuration(alone=True)
    conf.use("--driver", ("poolmgr", "driver"), "fake")
    yield from options_in(conf.groups())


OPTIONS = [*every()]
of_every_option = pytest.mark.parametrize(
    "option", OPTIONS, ids=lambda option: f"{option.group}.{option.name}"
)


def read(path: Path, group: str) -> list[object]:
    """Return the settings of a group in a file."""
    conf = Configuration([str(path)], alone=True)
    conf.driver_name()
    conf.use("--driver", ("poolmgr", "driver"), "fake")
    found = conf.groups()
    return [conf.group(*each) for each in found if each[0] == group]


def refused(path: Path, group: str, name: str, value: str) -> str:
    """Return the error for a value in a file."""
    path.write_text(f"[{group}]\n{name} = {value}\n")
    with pytest.raises(ConfigError) as caught:
        read(path, group)
    error = str(caught.value)
    assert error.startswith(f"[{group}] {name} in {path}, line 2: ")
    assert error.isprintable()
    return error


REFUSED = ["a\0b", "a\tb", "1  # note", "1 ; note", "# note", "\x7f"]


@of_every_option
def test_comments_and_control_characters_are_refused(
    option: Option, tmp_path: Path
) -> None:
    for value in REFUSED:
        error = refused(
            tmp_path / "mine.conf", option.group, option.name, value
        )
        assert "control character" in error or "comment" in error


@of_every_option
def test_an_empty_value_is_refused_or_unsets_the_option(
    option: Option, tmp_path: Path
) -> None:
    path = tmp_path / "mine.conf"
    if option.default in (None, "", ()):
        path.write_text(f"[{option.group}]\n{option.name} =\n")
        (values, *_rest) = (
            each
            for each in read(path, option.group)
            if option.name in each.__dataclass_fields__  # type: ignore[attr-defined]
        )
        assert getattr(values, option.name) == option.default
    else:
        error = refused(path, option.group, option.name, "")
        assert error.endswith("is empty; give it a value, or remove it")


NO_NUMBERS = ["nan", "inf", "-inf", "1e999", "-1e9", "9" * 5000, "5 5"]


@of_every_option
def test_invalid_numbers_are_refused(option: Option, tmp_path: Path) -> None:
    if option.kind in (int, float, bool):
        for value in NO_NUMBERS:
            refused(tmp_path / "mine.conf", option.group, option.name, value)


QUOTED = ["['a', 'b']", "('a',)", "'a', 'b'", '"a", b']


@of_every_option
def test_quotes_in_lists_are_refused(option: Option, tmp_path: Path) -> None:
    if option.kind is tuple:
        for value in QUOTED:
            refused(tmp_path / "mine.conf", option.group, option.name, value)


@of_every_option
def test_two_values_in_one_file_are_refused(
    option: Option, tmp_path: Path
) -> None:
    path = tmp_path / "mine.conf"
    group, name = option.group, option.name
    path.write_text(f"[{group}]\n{name} = 1\n\n[{group}]\n{name} = 2\n")

    with pytest.raises(ConfigError) as caught:
        read(path, group)

    assert str(caught.value) == (
        f"[{group}] {name} in {path}, line 5: has another value in line 2; "
        "remove one"
    )


@of_every_option
def test_invalid_variables_are_refused(
    option: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"OS_{option.group}__{option.name}".upper()

    for value in ["1\r", "a\udcff", '"1"']:
        monkeypatch.setenv(variable, value)
        conf = Configuration(["/dev/null"])
        with pytest.raises(ConfigError) as caught:
            conf.driver_name()
            for found, cls in conf.groups():
                if found == option.group:
                    conf.group(found, cls)
            conf.group("fake", FakeSettings)
        assert str(caught.value).startswith(f"{variable}: ")
        assert str(caught.value).isprintable()


# -- by every command -------------------------------------------------------

WRONG = {
    "[worker] long_jobs": "5  # note",
    "[gearman] servers": "['a:1', 'b:1']",
    "[reaper] interval": "nan",
    "[monitoring] address": "",
    "[nova] compute_endpoint": "nova.example:8774",
    "[fake] ip_quota": "-1",
}


def one_option(option: str, value: str) -> str:
    group, _, name = option.partition(" ")
    return f"{group}\n{name} = {value}\n"


@pytest.mark.parametrize("option", WRONG)
def test_all_commands_report_an_invalid_value_alike(
    option: str, tmp_path: Path
) -> None:
    path = tmp_path / "worker.conf"
    path.write_text(one_option(option, WRONG[option]))
    args = ["--driver", "fake", "--config-file", str(path)]

    done = [
        poolmgr(*args, *command)
        for command in (["check"], ["config", "show"], ["worker"])
    ]

    assert {each.returncode for each in done} == {1}
    errors = {each.stderr.partition(" poolmgr.cli: ")[2] for each in done[2:]}
    errors |= {each.stderr.removeprefix("poolmgr: ") for each in done[:2]}
    (line,) = errors
    assert line.startswith(f"{option} in {path}, line 2: ")
    assert line.count("\n") == 1


def test_all_commands_report_every_invalid_value(tmp_path: Path) -> None:
    path = tmp_path / "worker.conf"
    wrong = "".join(one_option(*each) for each in WRONG.items())
    path.write_text(f"[poolmgr]\ndriver = fake\n{wrong}")
    args = ["--config-file", str(path)]

    for command in (
        *(["check"], ["config", "show"], ["config", "convert", str(path)]),
        *(["worker"], ["build-ip"], ["device", "list"], ["reap"]),
    ):
        lines = poolmgr(*args, *command).stderr.splitlines()
        named = [line.partition(f" in {path}, ")[0] for line in lines]
        assert {each[each.index("[") :] for each in named} == {*WRONG}


UNKNOWN = {
    "OS_NOVA__CLUOD": "OS_NOVA__CLOUD",
    "OS_MGM__THRAEDS": "OS_MGM__THREADS",
    "OS_MONITOR__PORT": "OS_MONITORING__PORT",
    "OS_WORKER_LONG_JOBS": "OS_WORKER__LONG_JOBS",
    "os_nova__cloud": "OS_NOVA__CLOUD",
    "OS_REAPER__SOMETHING": None,
}
OTHERS = ("OS_USERNAME", "OS_GEARMAN__OTHER", "OS_DEFAULT__DEBUG", "OS_A__B")


def test_unknown_variables_are_reported() -> None:
    args = ["--driver", "fake", "--config-file", "/dev/null"]
    variables = dict.fromkeys((*UNKNOWN, *OTHERS), "1")

    for command in (["check"], ["config", "show"]):
        error = poolmgr(*args, *command, **variables).stderr
        for variable, meant in UNKNOWN.items():
            hint = f"did you mean {meant}?" if meant else "poolmgr does not"
            line = f"{variable} has no effect: {hint}"
            assert line in error
        for variable in OTHERS:
            assert variable not in error


def test_sighup_with_an_invalid_value_changes_nothing(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    path = tmp_path / "worker.conf"
    servers = [str(job_server.address)]
    with worker(servers, "[poolmgr]\naz = 1\n", tmp_path) as process:
        process.wait_for("registered")
        for option, value in WRONG.items():
            if option == "[gearman] servers":
                continue  # the command line takes precedence
            path.write_text(one_option(option, value))
            process.signal(signal.SIGHUP)
            line = process.wait_for("configuration not reloaded: ")
            assert f"not reloaded: {option} in {path}, line 2: " in line


def test_an_invalid_secret_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "mine.conf"
    for value in (f"{SECRET} # x", f"{SECRET}\0", f"{SECRET}\n  {SECRET}"):
        error = refused(path, "nova", "password", value)
        assert "planted" not in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[gearman]\nssl_cert = c.pem\nssl_ca = ca.pem\n",
            "a certificate its key",
        ),
        (
            "[gearman]\nssl_key = k.pem\nssl_ca = ca.pem\n",
            "key its certificate",
        ),
        ("[gearman]\nssl_cert=c.pem\nssl_key=k.pem\n", "TLS needs a CA file"),
        ("[gearman]\nssl_ca = /nowhere/ca.pem\n", "'/nowhere/ca.pem'"),
        ("[poolmgr]\ndriver = nope\n", "no driver named 'nope'"),
        ("[worker]\nfunction = a b\n", "function"),
    ],
)
def test_check_reports_the_error_that_ends_a_worker(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.conf"
    path.write_text(text)
    args = ["--config-file", str(path)]
    if "driver" not in text:
        args += ["--driver", "fake"]

    check, start = (poolmgr(*args, command) for command in ("check", "worker"))

    assert (check.returncode, start.returncode) == (1, 1)
    assert words in check.stderr
    assert start.stderr.endswith(check.stderr.removeprefix("poolmgr: "))


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "\udcff"])
@pytest.mark.parametrize("option", ["--driver", "--gearman-server"])
def test_values_of_the_command_line_are_checked(
    option: str, name: str
) -> None:
    conf = Configuration(["/dev/null"], alone=True)
    if option == "--driver":
        conf.use("--driver", ("poolmgr", "driver"), name)
    else:
        conf.use(option, ("gearman", "servers"), name)

    with pytest.raises(ConfigError) as caught:
        (conf.driver_name(), conf.gearman())

    assert str(caught.value).startswith(f"{option}: ")
    assert str(caught.value).isprintable()


def test_settings_in_code_are_checked() -> None:
    for wrong in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ConfigError, match="boot_time"):
            FakeSettings(boot_time=wrong)


# -- spellings --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("servers = a:1 b:2", ("a:1", "b:2")),
        ("servers = a:1,b:2,", ("a:1", "b:2")),
        ("servers =\n  a:1\n  b:2", ("a:1", "b:2")),
        ("servers = a:1,\n\tb:2", ("a:1", "b:2")),
        ("servers = [::1]:1, [::2]", ("[::1]:1", "[::2]")),
        ("servers\t=\ta:1\t", ("a:1",)),
        ('servers = "a:1, b:2"', ("a:1", "b:2")),
        ("SERVERS: a:1", ("a:1",)),
    ],
)
@pytest.mark.parametrize("section", ["[gearman]", "[ Gearman ]", "[GEARMAN]"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_all_spellings_of_lists_and_names_are_read(
    section: str, text: str, servers: tuple[str, ...], end: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.conf"
    path.write_bytes(f"{section}\n{text}\n".replace("\n", end).encode())

    conf = Configuration([str(path)], alone=True)

    assert conf.gearman().servers == servers


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "[worker]\nlong_jobs = 1\n  short_jobs = 2\n",
            "[worker] long_jobs in FILE, line 2: continues on the next line",
        ),
        ("[worker]\n\n  long_jobs = 1\n", "FILE, line 3: Unexpected contin"),
        ("[worker] # x\nlong_jobs = 1\n", "FILE, line 1: Invalid section"),
        ("[worker]\nlong_jobs\n", "FILE, line 2: No ':' or '=' found"),
        ("[nova]\npassword planted\n", "FILE, line 2: No ':' or '=' found"),
        ("long_jobs = 1\n", "FILE, line 1: there is no [section]"),
    ],
)
def test_invalid_lines_are_reported(
    text: str, error: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.conf"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        Configuration([str(path)], alone=True).worker()

    assert str(caught.value).replace(str(path), "FILE").startswith(error)
    assert "planted" not in str(caught.value)


# -- writing and reading ----------------------------------------------------

ODD = st.text("ab1.$%\\{}\"'#; ,=:[]-/é", max_size=12)
LINES = st.lists(ODD, min_size=1, max_size=3).map("\n  ".join)
USUAL = st.sampled_from(
    ["1", "0.5", "yes", "a", "a, b", "k=v, l=$$w", "4", "best", "info"]
    + ["10.0.0.0/8", "http://a/$az", "$", "100%", "a$${b}", "a%(b)s", "\\$$"]
)


def all_settings(path: Path) -> list[object]:
    conf = Configuration([str(path)], alone=True)
    conf.use("--driver", ("poolmgr", "driver"), "fake")
    return [conf.group(*each) for each in conf.groups()]


@settings(max_examples=400)
@given(
    st.sampled_from(OPTIONS),
    st.one_of(USUAL, ODD, LINES, ODD.map(lambda text: f'"{text}"')),
    st.booleans(),
)
def test_any_converted_option_has_the_same_effect(
    option: Option, text: str, old: bool
) -> None:
    names = keys_of(option)
    group, name = names[-1 if old else 0]
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "libra.cfg", Path(folder) / "new.conf"
        driver = "[poolmgr]\ndriver = fake\n" * (name != "driver")
        before.write_text(f"{driver}[{group}]\n{name} = {text}\n")
        try:
            expected = all_settings(before)
            lines = convert(str(before))
        except ConfigError:
            return  # the old file is invalid, too
        after.write_text("\n".join(lines))

        assert all_settings(after) == expected


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_any_text_can_be_written_to_a_file_and_read(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.conf"
        path.write_text(f"[nova]\nusername = {format_value(text)}\n")
        conf = Configuration([str(path)], alone=True)

        username = conf.group("nova", NovaSettings).username
        assert username == (text if text.strip() else None)
