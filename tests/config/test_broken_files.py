"""Tests of invalid configuration files: place, reason and advice."""

from pathlib import Path

import pytest

from tests.processes import poolmgr


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[mgm]\naz = 1\n".encode("utf-16"), "FILE, line 1: No ':' or '='"),
        (
            b"[mgm]\n# caf\xe9\naz = 1\xe9\n",
            "[mgm] az in FILE, line 3: has a control character in it, or is "
            "not UTF-8",
        ),
        (
            b"[mgm]\nthreads = many\n",
            "[mgm] threads in FILE, line 2: must be a whole number, "
            "not 'many'",
        ),
        (
            b"[worker]\nlong_jobs = 0\n",
            "[worker] long_jobs in FILE, line 2: must be at least 1, not 0",
        ),
        (
            b"[mgm]\nnova_insecure = maybe\n",
            "[mgm] nova_insecure in FILE, line 2: must be true or false, "
            "not 'maybe'",
        ),
        (
            b"[worker]\ndrain_timeout = soon\n",
            "[worker] drain_timeout in FILE, line 2: must be a number, "
            "not 'soon'",
        ),
        (
            b"[mgm]\nnova_pass = planted$secret\n",
            "[mgm] nova_pass in FILE, line 2: refers to an option that does "
            "not exist; write $$ for a $",
        ),
        (
            b"[mgm]\nnode_basename = $nope\n",
            "[mgm] node_basename in FILE, line 2: refers to an option that "
            "does not exist; write $$ for a $",
        ),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["config", "convert", "FILE"],
        ["--config-file", "FILE", "config", "show"],
    ],
)
def test_an_invalid_file_is_reported_with_place_and_reason(
    content: bytes, error: str, command: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "libra.cfg"
    file.write_bytes(content)

    done = poolmgr(*(str(file) if w == "FILE" else w for w in command))

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.replace(str(file), "FILE").startswith(f"poolmgr: {error}")
    assert "planted" not in done.stderr


def test_an_invalid_variable_is_reported() -> None:
    done = poolmgr("config", "show", OS_WORKER__LONG_JOBS="many")

    assert (done.returncode, done.stderr) == (
        1,
        "poolmgr: OS_WORKER__LONG_JOBS: must be a whole number, not 'many'\n",
    )


def test_a_percent_sign_is_literal(tmp_path: Path) -> None:
    file = tmp_path / "libra.cfg"
    file.write_text("[mgm]\naz = 100%(x)s\nnova_pass = a%b%%c\n")
    new = tmp_path / "new.conf"

    poolmgr("config", "convert", str(file), "--output", str(new))

    assert "\naz = 100%(x)s\n" in new.read_text()
    assert "\npassword = a%b%%c\n" in new.read_text()


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "libra.cfg"
    file.write_bytes(b"\xef\xbb\xbf[mgm]\naz = 7\n")

    done = poolmgr("config", "convert", str(file))

    assert "\naz = 7\n" in done.stdout
