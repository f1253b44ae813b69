"""Which files are a host's tests, what is wrong with a fleet's `host_tests/`, digest and bundle."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

import pytest

from host_tests.suite import bundle, collect, faults
from server.core.errors import FleetFaults
from server.core.states import StageName
from server.core.tree import EXECUTABLE, FILE, LINK, SUBMODULE, Entry

SCRIPT = b"#!/bin/sh\necho 1..1\necho ok 1\n"
HOSTS = ("web", "db")


class Files:
    """A tree of files given as path: (mode, content)."""

    def __init__(self, files: Mapping[str, tuple[int, bytes]]) -> None:
        self.files = files

    @property
    def entries(self) -> Mapping[str, Entry]:
        return {path: Entry(mode, "0" * 40, len(content)) for path, (mode, content) in sorted(self.files.items())}

    def read(self, path: str) -> bytes:
        return self.files[path][1]


def holding(*paths: str, mode: int = EXECUTABLE, content: bytes = SCRIPT) -> Files:
    return Files(dict.fromkeys(paths, (mode, content)))


def only_fault(tree: Files) -> str:
    wrong, _ = faults(tree, HOSTS)
    assert len(wrong) == 1, wrong
    return str(wrong[0])


def only_hint(tree: Files) -> str:
    wrong, hints = faults(tree, HOSTS)
    assert wrong == ()
    assert len(hints) == 1, hints
    return hints[0]


def test_folders_and_short_forms_in_order() -> None:
    tree = holding(
        "host_tests/web/no-internet/20-b.sh", "host_tests/web/no-internet/10-a", "host_tests/all/no-internet/99-all",
        "host_tests/web-test.sh", "host_tests/web-smoke-test.sh", "host_tests/db/no-internet/10-db",
        "host_tests/web/post-switch/x.py", "host_tests/db-test.sh",
    )  # fmt: skip
    suite = collect(tree, "web")
    names = ["all/99-all", "10-a", "20-b.sh", "web-test.sh"]
    assert [file.label for file in suite.for_stage(StageName.NO_INTERNET)] == names
    assert [file.label for file in suite.for_stage(StageName.SMOKE)] == ["web-smoke-test.sh"]
    assert [file.label for file in suite.for_stage(StageName.POST_SWITCH)] == ["x.py"]
    assert suite.for_stage(StageName.WITH_INTERNET) == ()
    stock = suite.expected(StageName.WITH_INTERNET)
    assert stock == ("stock/clock", "stock/disk", "stock/dpkg", "stock/ssh", "stock/units")
    assert suite.expected(StageName.NO_INTERNET) == (*stock, *names)
    assert suite.expected(StageName.NO_INTERNET, stock=False) == tuple(names)
    assert faults(tree, HOSTS) == ((), ())


def test_data_and_bats() -> None:
    tree = Files(
        {
            "host_tests/web/smoke/data.json": (FILE, b"{}"),
            "host_tests/web/smoke/pages/a.html": (FILE, b"<p>"),
            "host_tests/web/smoke/x.bats": (FILE, b"#!/usr/bin/env bats\n"),
            "host_tests/web/smoke/.hidden": (FILE, b""),
        }
    )
    suite = collect(tree, "web")
    assert [file.name for file in suite.for_stage(StageName.SMOKE)] == ["x.bats"]
    assert [file.name for file in suite.files] == [".hidden", "data.json", "pages/a.html", "x.bats"]
    assert faults(tree, HOSTS) == ((), ())


def test_no_tests_at_all() -> None:
    suite = collect(holding(), "web")
    assert suite.empty
    assert suite.files == ()
    assert not collect(holding("host_tests/all/smoke/a"), "web").empty
    assert collect(holding("host_tests/all/smoke/a", mode=FILE, content=b"x"), "web").empty


def test_digest_follows_names_modes_and_contents_of_this_host_alone() -> None:
    path = "host_tests/web/smoke/a"
    digest = collect(holding(path), "web").digest
    assert collect(holding(path, "README", "host_tests/db/smoke/a"), "web").digest == digest
    assert collect(holding(path, content=b"#!/bin/sh\n"), "web").digest != digest
    assert collect(holding("host_tests/web/smoke/b"), "web").digest != digest
    assert collect(holding("host_tests/web/post-switch/a"), "web").digest != digest
    assert collect(holding("host_tests/all/smoke/a"), "web").digest != digest
    assert collect(holding(path, mode=FILE), "web").digest != digest
    assert collect(holding(path, "host_tests/web/smoke/data"), "web").digest != digest


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (
            holding("host_tests/web/smoke/a.sh", mode=FILE),
            "host_tests/web/smoke/a.sh: has no run bit, so it would not run; "
            "`git update-index --chmod=+x host_tests/web/smoke/a.sh` sets it",
        ),
        (holding("host_tests/web-test.sh", mode=FILE, content=b"echo 1..0"), "has no run bit"),
        (holding("host_tests/web/no-internt/a.sh"), 'unknown stage "no-internt"; did you mean "no-internet"?'),
        (holding("host_tests/all/build/a.sh"), "stages with tests: no-internet, with-internet, smoke, post-switch"),
        (holding("host_tests/web/a.sh"), "stands outside a stage and would not run"),
        (holding("host_tests/web/smoke/a b.sh"), "a test's name holds letters"),
        (holding("host_tests/web/smoke/-x"), "a test's name holds letters"),
        (holding("host_tests/web/smoke/da\nta", mode=FILE, content=b""), "control characters"),
        (holding("host_tests/web/smoke", mode=FILE, content=b""), "is no folder"),
        (holding("host_tests/web", mode=FILE, content=b""), "is no folder"),
        (holding("host_tests", mode=FILE, content=b""), "is no folder"),
        (holding("host_tests/web-test.sh", "host_tests/web/no-internet/web-test.sh"), "means the same test as"),
        (holding("host_tests/web/smoke/a", mode=SUBMODULE), "is a submodule"),
        (holding("host_tests/web/smoke/a", mode=LINK, content=b"../../../../etc/passwd"), "out of the repository"),
        (holding("host_tests/web/smoke/a", mode=LINK, content=b"/etc/passwd"), "out of the repository"),
        (holding("host_tests/web/smoke/a", mode=LINK, content=b"a"), "leads back to itself"),
        (holding("host_tests/web/smoke/a", mode=LINK, content=b"nowhere"), "is no file of the repository"),
    ],
)
def test_faults(tree: Files, sentence: str) -> None:
    assert sentence in only_fault(tree)


def test_a_short_form_that_two_hosts_could_own_is_a_fault() -> None:
    wrong, _ = faults(holding("host_tests/web-smoke-test.sh"), ("web", "web-smoke"))
    assert "may mean" in str(wrong[0])


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (holding("host_tests/wbe/smoke/a"), 'host_tests/wbe/: there is no host wbe; did you mean "web"?'),
        (holding("host_tests/mail-test.sh"), "there is no host mail"),
        (holding("host_tests/lib/x.sh"), "host_tests/lib/ is not sent"),
        (holding("tests/web/a.sh", "tests/web/b.sh"), "tests/web/ is not read any more"),
        (holding("host_tests/web/smoke/.a"), "begins with a dot"),
    ],
)
def test_hints(tree: Files, sentence: str) -> None:
    assert sentence in only_hint(tree)


def test_other_files_are_nobodys_business() -> None:
    paths = ("host_tests/README.md", "host_tests/web/README.md", "tests/unit/x.sh", "tests/web")
    tree = holding(*paths, mode=FILE, content=b"x")
    assert faults(tree, HOSTS) == ((), ())


def test_a_link_brings_the_content_and_mode_of_its_target() -> None:
    tree = Files(
        {
            "host_tests/web/smoke/a": (LINK, b"../../../shared/check"),
            "shared/check": (LINK, b"real"),
            "shared/real": (EXECUTABLE, SCRIPT),
        }
    )
    (file,) = collect(tree, "web").files
    assert (file.content, file.executable, file.is_test) == (SCRIPT, True, True)
    assert faults(tree, HOSTS) == ((), ())


def test_collect_refuses_what_it_cannot_read() -> None:
    tree = holding("host_tests/web/smoke/a", mode=LINK, content=b"/etc/shadow")
    with pytest.raises(FleetFaults, match="out of the repository"):
        collect(tree, "web")
    assert collect(tree, "db").empty


def test_bundle_is_deterministic_and_complete() -> None:
    tree = Files(
        {
            "host_tests/web/smoke/a": (EXECUTABLE, SCRIPT),
            "host_tests/web/smoke/pages/a.html": (FILE, b"<p>"),
            "host_tests/all/smoke/b.bats": (FILE, b""),
            "host_tests/web-test.sh": (EXECUTABLE, SCRIPT),
        }
    )
    data = bundle(collect(tree, "web"))
    assert data == bundle(collect(tree, "web"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        modes = {member.name: member.mode for member in tar.getmembers() if member.isfile()}
        assert {(member.uid, member.gid, member.mtime) for member in tar.getmembers()} == {(0, 0, 0)}
    assert {name for name in modes if name.startswith("tests/")} == {
        "tests/smoke/host/a", "tests/smoke/host/pages/a.html", "tests/smoke/all/b.bats",
        "tests/no-internet/host/web-test.sh",
    }  # fmt: skip
    own = {"run-tests", "lib/tap.sh", "stock/ssh", "stock/units", "stock/clock", "stock/disk", "stock/dpkg"}
    assert own <= set(modes)
    assert modes["run-tests"] == modes["stock/ssh"] == modes["tests/smoke/host/a"] == 0o755
    assert modes["tests/smoke/host/pages/a.html"] == modes["lib/tap.sh"] == 0o644
