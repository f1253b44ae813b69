"""Locks, and what apt's answers become."""

from __future__ import annotations

import pytest

from jobs.images import refusals
from jobs.images.lock import Lock
from jobs.images.resolve import closure, installed, locked, pick
from server.core.control import paragraphs
from server.core.errors import BuildRefused, Trouble
from server.core.process import Result
from tests import images

SIMULATION = """\
Reading package lists...
Inst libc6 (2.36-9+deb12u13 Debian:12.12/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst adduser (3.134 Debian:12.12/oldstable [all])
Inst vim [2:9.0-1] (2:9.1-1 Debian:12.12/oldstable [amd64])
Conf libc6 (2.36-9+deb12u13 Debian:12.12/oldstable [amd64])
"""
RECORDS = """\
Package: base-files
Essential: yes
Version: 1
Architecture: amd64
Pre-Depends: awk
Filename: pool/base-files_1_amd64.deb
Size: 10
SHA256: aa

Package: mawk
Priority: optional
Version: 1
Architecture: amd64
Provides: awk (= 1)
Depends: libc6 (>= 2.3) | libc6-alt
Filename: pool/mawk_1_amd64.deb
Size: 10
SHA256: bb

Package: libc6
Version: 1
Architecture: amd64
Filename: pool/libc6_1_amd64.deb
Size: 10
SHA256: cc

Package: libc6-alt
Version: 1
Architecture: amd64
Filename: pool/libc6-alt_1_amd64.deb
Size: 10
SHA256: dd

Package: nginx-light
Version: 1
Architecture: all
Depends: libc6
Filename: pool/nginx-light_1_all.deb
Size: 10
SHA256: ee
"""


def chosen() -> dict[str, dict[str, str]]:
    return {record["Package"]: record for record in paragraphs(RECORDS)}


def test_a_lock_survives_json() -> None:
    made = images.lock(images.locked("b", "1:2.0-1"), images.locked("a", base=True))
    assert Lock.from_json(made.to_json()) == made


def test_the_digest_is_of_what_would_be_installed() -> None:
    one = images.lock(images.locked("a", base=True), images.locked("b"))
    other = images.lock(images.locked("b"), images.locked("a"))
    newer = images.lock(images.locked("a"), images.locked("b", "1.1"))
    assert one.digest == other.digest
    assert one.digest != newer.digest


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "packages": [{"x": 1}]}'])
def test_what_is_no_lock_is_said(text: str) -> None:
    with pytest.raises(Trouble, match="lock") as told:
        Lock.from_json(text)
    assert "toto update" in told.value.mend


def test_a_debs_name_has_no_epoch() -> None:
    assert images.locked("vim", "2:9.1-1").file == "vim_9.1-1_amd64.deb"


def test_what_a_simulation_would_install() -> None:
    assert installed(SIMULATION) == {"libc6": "2.36-9+deb12u13", "adduser": "3.134", "vim": "2:9.1-1"}


def test_the_base_is_what_is_essential_and_all_it_needs() -> None:
    assert closure(chosen()) == {"base-files", "mawk", "libc6"}
    assert {package.name: package.base for package in locked(chosen())}["nginx-light"] is False


def test_the_record_of_the_chosen_version_counts() -> None:
    records = paragraphs(RECORDS + "\nPackage: libc6\nVersion: 2\nSHA256: ff\n")
    assert pick(records, {"libc6": "2"})["libc6"]["SHA256"] == "ff"


def answer(text: str, code: int = 100) -> Result:
    return Result(("apt-get",), code, text.encode(), b"", 0.1)


class Archives:
    """Answers what the refusals ask."""

    def names(self) -> frozenset[str]:
        return frozenset({"nginx-light", "nginx-full", "postfix"})

    def mentioned(self) -> frozenset[str]:
        return self.names() | {"mail-transport-agent"}

    def versions(self, name: str) -> list[str]:
        return ["7.88.1-10", "7.88.1-9"]


def refusal(text: str) -> BuildRefused:
    with pytest.raises(BuildRefused) as told:
        refusals.unresolvable(images.host(), Archives(), answer(text))  # type: ignore[arg-type]
    return told.value


def test_unknown_packages_are_named_with_a_suggestion_all_at_once() -> None:
    wanted = images.host("nginx-ligth", "no.such+thing", "mail-transport-agent")
    with pytest.raises(BuildRefused) as told:
        refusals.unknown(wanted, Archives())  # type: ignore[arg-type]
    said = str(told.value)
    assert '"nginx-ligth" (did you mean "nginx-light"?) and no package "no.such+thing"' in said
    assert said.startswith("host web: Debian bookworm has no package")
    assert "mail-transport" not in said


def test_an_unknown_version_is_told_with_those_there_are() -> None:
    said = str(refusal("E: Version '9.*' for 'curl' was not found\n"))
    assert 'package "curl" has no version 9.* in bookworm' in said and "7.88.1-10, 7.88.1-9" in said


def test_a_virtual_package_is_told_with_its_providers() -> None:
    text = """Package mail-transport-agent is a virtual package provided by:
  postfix 3.7
  exim4-daemon-light 4.96
You should explicitly select one to install.

E: Package 'mail-transport-agent' has no installation candidate
"""
    assert "postfix, exim4-daemon-light" in str(refusal(text))


def test_a_conflict_is_one_sentence() -> None:
    text = """The following packages have unmet dependencies:
 exim4-daemon-light : Conflicts: mail-transport-agent
 postfix : Conflicts: mail-transport-agent
E: Unable to correct problems, you have held broken packages.
"""
    assert (
        "these packages cannot be together: exim4-daemon-light Conflicts: mail-transport-agent; "
        "postfix Conflicts: mail-transport-agent"
    ) in str(refusal(text))


def test_another_failure_of_apt_is_the_operators() -> None:
    with pytest.raises(Trouble, match="Could not get lock"):
        refusals.unresolvable(images.host(), Archives(), answer("E: Could not get lock x\n"))  # type: ignore[arg-type]


def test_a_suite_that_is_not_there_is_refused_and_a_dead_network_is_trouble() -> None:
    missing = """Err:2 http://mirror.example/debian bookwurm Release
  404  Not Found [IP: 10.0.0.1 80]
E: The repository 'http://mirror.example/debian bookwurm Release' does not have a Release file.
"""
    dead = "E: Failed to fetch http://mirror.example/InRelease  Could not resolve 'mirror.example'\n"
    with pytest.raises(BuildRefused, match="bookwurm"):
        refusals.unreachable("bookwurm", answer(missing))
    with pytest.raises(Trouble, match="Could not resolve"):
        refusals.unreachable("bookworm", answer(dead))


def test_another_architecture_is_refused() -> None:
    with pytest.raises(BuildRefused, match="armhf"):
        refusals.foreign(images.host("libc6:armhf"), "amd64")
    refusals.foreign(images.host("libc6:amd64"), "amd64")
