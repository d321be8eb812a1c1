"""Tests of ``config convert`` and ``config show``."""

import json
import stat
from pathlib import Path

import pytest

from poolmgr.cli.config import convert
from poolmgr.config.configuration import Configuration
from poolmgr.config.options import list_opts
from poolmgr.config.remarks import ignored_options
from poolmgr.drivers.nova import NovaSettings
from tests.config.test_options import LIBRA_CFG
from tests.processes import poolmgr

TLS = "ssl_ca = ca.pem\nssl_cert = c.pem\nssl_key = k.pem\n"
OLD = LIBRA_CFG + TLS
SECRET = "planted-secret"


def settings(path: Path) -> list[object]:
    """Return the settings of all groups in a file."""
    conf = Configuration([str(path)], alone=True)
    return [conf.group(*group) for group in conf.groups()]


def old_options() -> list[tuple[str, str]]:
    """Return section and line of every option of libra.cfg."""
    found, section = [], ""
    for line in OLD.splitlines():
        if line.startswith("["):
            section = line
        elif line:
            found.append((section, line))
    return found


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_new_file_has_the_same_effect(tmp_path: Path) -> None:
    old, new = write(tmp_path / "libra.cfg", OLD), tmp_path / "new.conf"

    done = poolmgr("config", "convert", str(old), "--output", str(new))

    assert (done.returncode, done.stdout) == (0, "")
    assert settings(new) == settings(old)
    # The new file has no deprecated names.
    used = poolmgr("--config-file", str(new), "-v", "config", "show")
    assert (used.returncode, used.stderr) == (0, "")


@pytest.mark.parametrize(("section", "line"), old_options())
def test_every_old_option_is_converted_or_listed(
    tmp_path: Path, section: str, line: str
) -> None:
    # A file without any option of poolmgr would not be converted.
    text = f"[mgm]\naz = 3\n{section}\n{line}\n"
    old = write(tmp_path / "libra.cfg", text)
    if "ssl_" in line:  # These three options depend on each other.
        write(old, "[mgm]\naz = 3\n[gearman]\n" + TLS)
    name = line.partition(" ")[0]

    new = write(tmp_path / "new.conf", "\n".join(convert(str(old))))

    assert settings(new) == settings(old)
    ignored = ignored_options(Configuration([str(old)], alone=True))
    dropped = {given.shown for given in ignored}
    if not dropped:
        plain = write(tmp_path / "plain.conf", "[mgm]\naz = 3\n")
        default = "localhost:4730" in line or line == "keepalive = true"
        if name != "az" and not default:
            assert settings(new) != settings(plain)
    else:
        assert f"{section} {name}" in dropped


def test_options_of_the_old_daemon_are_listed_as_unused(
    tmp_path: Path,
) -> None:
    old = write(
        tmp_path / "libra.cfg",
        "[global]\ndaemon = true\nuser = libra\n[mgm]\naz = 1\n",
    )

    shown = poolmgr("config", "convert", str(old)).stdout

    assert "\n# [global] user: poolmgr does not use it" in shown


def test_convert_names_the_old_options_in_comments(tmp_path: Path) -> None:
    old = write(
        tmp_path / "libra.cfg",
        "[mgm]\nthreads=4\ntcp_check_port: 8080\nnova_insecure = on\n"
        "[admin_api]\nport = 1\n",
    )

    text = poolmgr("config", "convert", str(old)).stdout

    assert "# was [mgm] threads\n" in text
    assert "# was [mgm] tcp_check_port\ncheck_port = 8080\n" in text
    assert "# was [mgm] nova_insecure\ninsecure = true\n" in text
    assert "# [admin_api] port: poolmgr does not use it" in text


def test_convert_and_show_print_no_secrets(tmp_path: Path) -> None:
    old = write(tmp_path / "libra.cfg", OLD)

    done = poolmgr("config", "convert", str(old))

    assert done.returncode == 0
    assert SECRET not in done.stdout + done.stderr
    assert "# password = (a secret: not shown)" in done.stdout
    assert "--output" in done.stderr
    shown = poolmgr("--config-file", str(old), "config", "show", "nova")
    assert SECRET not in shown.stdout + shown.stderr


def test_only_the_owner_can_read_the_new_file(tmp_path: Path) -> None:
    old, new = write(tmp_path / "libra.cfg", OLD), tmp_path / "new.conf"

    done = poolmgr("config", "convert", str(old), "--output", str(new))

    assert f"password = {SECRET}\n" in new.read_text()
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert SECRET not in done.stderr


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    old = write(tmp_path / "libra.cfg", OLD)

    done = poolmgr("config", "convert", str(old), "--output", str(old))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be written: File exists" in done.stderr
    assert old.read_text() == OLD


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "libra.cfg"),
        ("", "nothing to convert"),
        ("[admin_api]\nport = 1\n", "nothing to convert"),
        ("no section\n", "libra.cfg"),
        ("[mgm]\nthreads = many\n", "[mgm] threads"),
    ],
)
def test_a_failed_conversion_is_reported_in_one_line(
    tmp_path: Path, text: str | None, words: str
) -> None:
    old = tmp_path / "libra.cfg"
    if text is not None:
        old.write_text(text)

    done = poolmgr("config", "convert", str(old))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_convert_ignores_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_MGM__AZ", "from-the-environment")
    monkeypatch.setenv("OS_POOLMGR__AZ", "from-the-environment")
    old = write(tmp_path / "libra.cfg", "[mgm]\naz = 3\n")

    text = "\n".join(convert(str(old)))

    assert "\naz = 3" in text
    assert "environment" not in text


def test_the_new_name_takes_precedence_over_the_old(tmp_path: Path) -> None:
    old = write(tmp_path / "x.conf", "[mgm]\naz = 1\n[poolmgr]\naz = 2\n")

    text = "\n".join(convert(str(old)))

    assert "az = 2\n" in text
    assert "\n# [mgm] az: [poolmgr] az counts" in text


def test_references_to_options_are_resolved(tmp_path: Path) -> None:
    old = write(
        tmp_path / "libra.cfg",
        "[mgm]\nnova_pass = a$$b\nnova_user = $image-x\nnova_image = i\n",
    )

    new = write(tmp_path / "new.conf", "\n".join(convert(str(old))))

    nova = Configuration([str(new)]).group("nova", NovaSettings)
    assert (nova.username, nova.password) == ("i-x", "a$b")


# -- config show ------------------------------------------------------------


def test_config_show_lists_every_option_and_its_source(tmp_path: Path) -> None:
    path = write(tmp_path / "l.cfg", "[mgm]\nthreads = 7\n[poolmgr]\naz=2\n")

    done = poolmgr(
        *("--config-file", str(path), "--driver", "fake"),
        *("config", "show", "-f", "json"),
        OS_WORKER__SHORT_JOBS="3",
    )

    assert (done.returncode, done.stderr) == (0, "")
    shown = {
        f"{row['Group']}.{row['Option']}": (row["Value"], row["Set by"])
        for row in json.loads(done.stdout)
    }
    assert shown["worker.long_jobs"] == (7, f"{path}, [mgm] threads")
    assert shown["poolmgr.az"] == ("2", str(path))
    assert shown["worker.short_jobs"] == (3, "environment")
    assert shown["poolmgr.driver"] == ("fake", "command line")
    assert shown["gearman.servers"] == (["localhost:4730"], "default")
    assert shown["fake.boot_time"][1] == "default"


def test_config_show_lists_every_group() -> None:
    done = poolmgr("--driver", "fake", "config", "show", "-f", "json")

    shown = {(row["Group"], row["Option"]) for row in json.loads(done.stdout)}
    assert shown == {
        (group, option.name)
        for group, options in list_opts()
        for option in options
    }


def test_config_show_filters_by_group_and_set(tmp_path: Path) -> None:
    path = write(tmp_path / "l.cfg", "[mgm]\nthreads = 7\naz = 2\n")
    args = ["--config-file", str(path), "config", "show", "-f", "value"]

    chosen = poolmgr(*args, "worker", "--set")

    assert chosen.stdout == f"worker long_jobs 7 {path}, [mgm] threads\n"
    wrong = poolmgr(*args, "wroker")
    assert wrong.returncode == 2
    assert "there is no group 'wroker'" in wrong.stderr


@pytest.mark.parametrize("format_", ["table", "json", "value"])
def test_a_short_secret_is_not_shown(tmp_path: Path, format_: str) -> None:
    path = write(tmp_path / "l.cfg", "[mgm]\nnova_pass = pw1\n")
    args = ["--config-file", str(path), "config"]

    shown = poolmgr(*args, "show", "nova", "-f", format_)
    converted = poolmgr("config", "convert", str(path))

    assert "***" in shown.stdout
    assert "pw1" not in shown.stdout + converted.stdout


def test_the_last_file_takes_precedence(tmp_path: Path) -> None:
    first = write(tmp_path / "1.conf", "[poolmgr]\naz = 1\n")
    folder = tmp_path / "conf.d"
    folder.mkdir()
    write(folder / "a.conf", "[poolmgr]\naz = 2\n")
    last = write(folder / "b.conf", "[mgm]\naz = 3\n[poolmgr]\npool = p\n")
    write(folder / "c.txt", "[poolmgr]\naz = 4\n")

    done = poolmgr(
        *("--config-file", str(first), "--config-dir", str(folder)),
        *("config", "show", "poolmgr", "--set", "-f", "value"),
    )

    assert set(done.stdout.splitlines()) == {
        f"poolmgr az 3 {last}, [mgm] az",
        f"poolmgr pool p {last}",
    }
