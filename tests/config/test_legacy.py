"""Tests with files and command lines of all releases of Libra's daemon."""

import re
from pathlib import Path

import pytest

from poolmgr.cli.config import convert
from poolmgr.config.configuration import Configuration
from poolmgr.config.remarks import FOREIGN, ignored_options
from tests.jobservers import JobServerProcess
from tests.processes import Process, poolmgr

#: A file of the first releases: all options are in [mgm].
FIRST = """\
[global]
verbose = true
nodaemon = true
[mgm]
pid = /var/run/libra/libra_mgm.pid
logfile = /var/log/libra/libra_mgm.log
datadir = /etc/libra/
nova_auth_url = https://keystone.example.com:35357/v2.0/
nova_user = username
nova_pass = planted-secret
nova_region = region
nova_keyname = default
nova_secgroup = default
nova_image = 12345
nova_image_size = standard.medium
gearman = 192.0.2.1:4730 192.0.2.2:4731
gearman_keepalive = true
gearman_keepcnt = 7
gearman_keepidle = 8
gearman_keepintvl = 9
gearman_ssl_ca = /etc/libra/ca.pem
gearman_ssl_cert = /etc/libra/cert.pem
gearman_ssl_key = /etc/libra/key.pem
gearman_poll = 1
node_basename = 'libra'
az = 1
"""

#: Further options of later releases.
LAST = """\
[DEFAULT]
rabbit_use_ssl = True
use_syslog = false
[mgm]
az = 1
ip_driver = fixed
ip_network_id = 4711
rate_limit_delete_device_period = 60
rate_limit_delete_device_max_count = 2
nodes = 10
api_server = 10.0.0.1:8889 10.0.0.2:8889
check_interval = 5
failed_interval = 15
[admin_api]
rate_limit_expunge_seconds = 60
vip_pool_size = 10
[mysql1]
password = planted-secret
"""


def read(path: Path) -> Configuration:
    conf = Configuration([str(path)], alone=True)
    conf.use("--driver", ("poolmgr", "driver"), "fake")
    return conf


def test_files_of_the_first_releases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "libra.cfg"
    path.write_text(FIRST)

    gearman = read(path).gearman()

    assert gearman.servers == ("192.0.2.1:4730", "192.0.2.2:4731")
    assert gearman.ssl_ca == "/etc/libra/ca.pem"
    assert gearman.ssl_cert == "/etc/libra/cert.pem"
    assert gearman.ssl_key == "/etc/libra/key.pem"
    assert gearman.keepalive
    assert (gearman.keepcnt, gearman.keepidle, gearman.keepintvl) == (7, 8, 9)


@pytest.mark.parametrize(
    "changed",
    [
        re.sub(r"^\w+", lambda name: name[0].upper(), FIRST, flags=re.M),
        FIRST.replace("[mgm]", "[ mgm ]"),
        FIRST.replace("[mgm]", "[Mgm]").replace("nova_", "Nova_"),
        FIRST.replace(" = ", ": "),
        FIRST.replace(" = ", "\t=\t").replace("\n", "\r\n"),
        FIRST.replace("[mgm]\n", ""),
        FIRST.replace(" 192.0.2.2", "\n  192.0.2.2"),
        FIRST.replace(" 192.0.2.2", ", 192.0.2.2"),
    ],
)
def test_case_separators_and_line_ends_do_not_matter(
    changed: str, tmp_path: Path
) -> None:
    plain, other = tmp_path / "libra.cfg", tmp_path / "other.cfg"
    plain.write_text(FIRST)
    other.write_bytes(changed.encode())

    before = [read(plain).group(*g) for g in read(plain).groups()]
    after = [read(other).group(*g) for g in read(other).groups()]

    assert after == before


@pytest.mark.parametrize("text", [FIRST, LAST])
def test_convert_keeps_or_lists_every_option(
    text: str, tmp_path: Path
) -> None:
    path, new = tmp_path / "libra.cfg", tmp_path / "new.conf"
    path.write_text(text)

    new.write_text("\n".join(convert(str(path))))

    assert read(new).gearman() == read(path).gearman()
    for line in text.splitlines():
        name = line.partition(" =")[0]
        assert name in new.read_text(), line
    ignored = ignored_options(Configuration([str(path)], alone=True))
    for given, why in ignored.items():
        assert given.key[0] != "mgm" or why != FOREIGN


def test_worker_and_check_report_every_unused_option(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    path = tmp_path / "libra.cfg"
    path.write_text(LAST + "[mgm]\nthreads = 3\nno_such = 1\n")
    args = ["--driver", "fake", "--config-file", str(path)]
    args += ["--gearman-server", str(job_server.address)]

    process = Process([*args, "worker"])
    try:
        process.wait_for("registered")
    finally:
        process.end()
    check = poolmgr(*args, "-v", "check")

    assert check.returncode == 0
    for output in ("".join(process.lines), check.stderr):
        assert "planted" not in output
        for line in LAST.splitlines():
            name = line.partition(" =")[0]
            if not name.startswith("["):
                assert f"] {name}" in output, line
        assert f"[mgm] threads in {path}, line " in output
        assert f"[mgm] no_such in {path}, line " in output


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["-c", "libra.cfg", "worker"], "'-c'; use --config-file"),
        (["worker", "-c", "libra.cfg"], "'-c'; use --config-file"),
        (["-n", "worker"], "'-n'; leave it out"),
        (["worker", "-nd"], "'-nd'; leave it out"),
        (["worker", "-d"], "'-d'; use --debug"),
        (["--logfile=x", "worker"], "'--logfile'; use --log-file"),
        (["worker", "--pid", "x"], "'--pid'; leave it out"),
        (["worker", "--log-config", "x"], "use --log-config-append"),
        (["--gearman", "a:1", "worker"], "use --gearman-server"),
        (["config", "show", "--group", "x"], "'--group'. See"),
        (["build-device", "-n", "3"], "'-n'. See"),
        (
            ["--nova_pass=planted", "worker"],
            "unexpected argument '--nova_pass'",
        ),
    ],
)
def test_command_line_options_of_libra_are_reported(
    args: list[str], what: str
) -> None:
    done = poolmgr(*args)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("poolmgr: ")
    assert what in done.stderr
    assert done.stderr.count("\n") == 1
    assert "planted" not in done.stderr
