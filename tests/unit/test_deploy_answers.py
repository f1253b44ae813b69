"""What targets answer becomes one sentence with a place and what to do, and the right class of error."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy import answers, debian, enrol, signing, target
from deploy.backend import Drift, Record
from server.core.config import Config
from server.core.definition import HostEntry
from server.core.errors import Refused, TargetTrouble
from server.core.ssh import Ssh
from server.core.states import Backend

SCRIPT = Path(answers.__file__).with_name("toto-act")
WEB = HostEntry(name="web", backend=Backend.DEBIAN, address="web.lan", config="hosts/web.toml")


def codes() -> dict[str, int]:
    """The script's own names of its exit codes."""
    lines = [line for line in SCRIPT.read_text().splitlines() if re.match(r"^(BUSY|EXISTS)=", line)]
    return {name: int(value) for name, value in re.findall(r"([A-Z_]+)=(\d+)", " ".join(lines))}


@pytest.mark.parametrize(("name", "code"), codes().items())
def test_every_exit_code_has_its_sentence(name: str, code: int) -> None:
    assert getattr(answers, name) == code
    error = answers.fault("web", "preflight", code, "WHAT-IT-SAID\n")
    assert error.where == "web" and error.mend and "WHAT-IT-SAID" in str(error) and "ended there with" not in error.what


def test_classes_tell_whose_matter_it_is() -> None:
    assert isinstance(answers.fault("web", "preflight", answers.NO_WAY, "x"), Refused)
    assert isinstance(answers.fault("web", "preflight", answers.DPKG_LOCK, "x"), TargetTrouble)
    drift = answers.fault("web", "preflight", answers.DRIFT, "file /etc/a was changed by hand\n    -a\n    +b\n")
    assert isinstance(drift, Drift) and drift.lines[1] == "    -a" and "-a" not in drift.what


def test_unknown_exit_code_is_told_as_it_is() -> None:
    assert "toto-act want ended there with 77: boo" in str(answers.fault("web", "want", 77, "boo"))


@pytest.mark.parametrize(
    ("said", "what", "mend"),
    [
        (b"ssh: connect to host web.lan port 22: Connection refused", "nothing listens at web.lan port 22", "sshd"),
        (b"ssh: connect to host web.lan port 22: Connection timed out", "does not answer", "is it up"),
        (b"toto@web.lan: Permission denied (publickey).", "refuses toto's key", "toto host enrol web"),
        (
            b"@@@\nREMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.",
            "not the pinned one",
            "console",
        ),
        (b"ssh: Could not resolve hostname web.lan: Name or service not known", "web.lan is not known", "fleet.toml"),
        (b"kex_exchange: boo", "kex_exchange: boo", "ssh -F none"),
        (b"", "ssh said nothing", "ssh -F none"),
    ],
)
def test_ways_not_to_reach_a_target(said: bytes, what: str, mend: str) -> None:
    error = target.unreachable(Ssh("web.lan", "toto", Path("k"), Path("h"), "web"), said)
    assert error.where == "web" and what in error.what and mend in error.mend


def test_target_without_a_pinned_key_is_not_reached(tmp_path: Path) -> None:
    with pytest.raises(TargetTrouble, match=r"web \(web.lan\): its host key is not known; `toto host enrol web`"):
        target.target(Config(data=tmp_path), WEB)
    with pytest.raises(TargetTrouble, match="malformed"):
        target.target(Config(data=tmp_path), WEB, "nonsense")


def test_pinned_key_is_written_under_the_hosts_name(tmp_path: Path) -> None:
    ssh = target.target(Config(data=tmp_path), WEB, "ssh-ed25519 AAAAC3Nz comment")
    assert ssh.known_hosts.read_text() == "web ssh-ed25519 AAAAC3Nz\n" and ssh.control is None
    assert (ssh.alias, ssh.user, ssh.port) == ("web", "toto", 22)


def test_record_of_a_run_is_read_from_text() -> None:
    text = "state=rolled-back time=1.2 boot=b why=deadman\npending= log=12\nleft=/etc/a.dpkg-dist"
    assert debian._record(text) == Record("rolled-back", "why=deadman", None, 12, ("/etc/a.dpkg-dist",))
    assert debian._record("state=applied time=1 boot=b \npending=7 log=0").pending == "7"
    assert debian._record("garbage") == Record("none")
    assert not Record("ready").began and Record("applying").began


def test_changes_are_read_from_text() -> None:
    assert debian._changes("change a 1 2\nadd b 3\nremove c\n") == (
        ("a", "1", "2"),
        ("b", "", "3"),
        ("c", "installed", ""),
    )


@pytest.mark.skipif(shutil.which("visudo", path="/usr/sbin:/usr/bin") is None, reason="sudo is not installed")
def test_sudoers_is_valid(tmp_path: Path) -> None:
    (tmp_path / "sudoers").write_text(enrol.sudoers("toto"))
    subprocess.run(["/usr/sbin/visudo", "-q", "-c", "-f", tmp_path / "sudoers"], check=True)


def test_enrolment_is_one_line_and_valid_sh(tmp_path: Path) -> None:
    line = enrol.enrol_script(Config(data=tmp_path), WEB)
    assert "\n" not in line and line.startswith("echo ") and len(line) < 100_000
    keys = signing.keys(tmp_path / "keys/release")
    script = enrol.plain_script(keys, "web", "toto", "ssh-ed25519 AAAA toto")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert 'restrict,command="' in script and "ssh-ed25519 AAAA" in script


def test_script_passes_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck") or ".venv/bin/shellcheck"
    subprocess.run([shellcheck, "-S", "warning", SCRIPT], check=True)
