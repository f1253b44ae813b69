"""Which tests a host has: the fleet's `host_tests/` at one commit, as values, with its faults and its digest.

- `host_tests/HOST/STAGE/NAME`: executables and `.bats`, run in name order; anything else is data beside them
- `host_tests/all/STAGE/NAME`: the same for every host, run before the host's own
- `host_tests/HOST-test.sh`: short for `host_tests/HOST/no-internet/HOST-test.sh`
- `host_tests/HOST-smoke-test.sh`: short for `host_tests/HOST/smoke/HOST-smoke-test.sh`

`all` and `lib` are no host names. toto never imports or runs any of it itself.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from host_tests.bundle import bundle
from host_tests.suite_values import EVERY, Suite, TestFile
from server.core.errors import Fault, FleetFaults
from server.core.states import StageName
from server.core.tree import EXECUTABLE, FILE, LINK, Tree

__all__ = ["Suite", "TestFile", "bundle", "collect", "faults"]

ROOT = "host_tests"
OLD_ROOT = "tests"
RESERVED = (EVERY, "lib")
TEST_STAGES = (StageName.NO_INTERNET, StageName.WITH_INTERNET, StageName.SMOKE, StageName.POST_SWITCH)
"""Stages that have folders of tests."""
SHORT_FORMS = (("-smoke-test.sh", StageName.SMOKE), ("-test.sh", StageName.NO_INTERNET))

_NAME = re.compile(r"[A-Za-z0-9_+@,=%][A-Za-z0-9._+@,=%-]*")
_PATH = re.compile(r"[^\x00-\x1f\x7f\\]+")
_STAGES_TEXT = ", ".join(TEST_STAGES)


@dataclass(frozen=True)
class _Source:
    """A file of the tree with its links followed; `fault` says why it cannot be had."""

    content: bytes = b""
    executable: bool = False
    fault: str = ""


def collect(tree: Tree, host: str) -> Suite:
    """The tests of a host.

    Raises:
        FleetFaults: A test of this host is a link that leads nowhere or out of the repository, or a submodule.
    """
    found: list[TestFile] = []
    faults: list[Fault] = []
    for path in tree.entries:
        if (place := _place(path, host)) is None:
            continue
        stage, group, name = place
        source = _read(tree, path)
        if source.fault:
            faults.append(Fault(path, 0, source.fault))
        else:
            found.append(TestFile(stage, group, name, path, source.content, source.executable))
    if faults:
        raise FleetFaults(tuple(faults))
    return Suite(host, tuple(sorted(found, key=lambda file: (file.stage, file.group, file.name.encode()))))


def _place(path: str, host: str) -> tuple[StageName, str, str] | None:
    """Stage, group and name that a path means for a host; None where it means nothing for it."""
    parts = path.split("/")
    if parts[0] != ROOT:
        return None
    if len(parts) == 2:
        return next(((stage, "host", parts[1]) for end, stage in SHORT_FORMS if parts[1] == host + end), None)
    if len(parts) < 4 or parts[1] not in (host, EVERY) or parts[2] not in TEST_STAGES:
        return None
    return StageName(parts[2]), EVERY if parts[1] == EVERY else "host", "/".join(parts[3:])


def _read(tree: Tree, path: str) -> _Source:
    seen: set[str] = set()
    at = path
    while (entry := tree.entries.get(at)) is not None and entry.mode == LINK:
        if at in seen:
            return _Source(fault="is a link that leads back to itself; put the file here")
        seen.add(at)
        target = tree.read(at).decode(errors="replace")
        at = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
        if target.startswith("/") or at == ".." or at.startswith("../"):
            return _Source(fault=f"is a link out of the repository, to {target}; put the file here")
    if entry is None:
        return _Source(fault=f"is a link to {at}, which is no file of the repository; link to a file, or put it here")
    if entry.mode not in (FILE, EXECUTABLE):
        return _Source(fault="is a submodule; toto does not fetch submodules, so put the files here")
    return _Source(tree.read(at), entry.mode == EXECUTABLE)


def faults(tree: Tree, hosts: Sequence[str]) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """What is wrong below `host_tests/`, and hints that do not stop a push."""
    wrong: list[Fault] = []
    hints: list[str] = []
    taken: dict[tuple[str, StageName, str], str] = {}
    for path in sorted(tree.entries):
        parts = path.split("/")
        if parts[0] == OLD_ROOT and len(parts) > 2 and parts[1] in hosts:
            hints.append(f"{OLD_ROOT}/{parts[1]}/ is not read any more: move its tests to {ROOT}/{parts[1]}/STAGE/")
        if parts[0] != ROOT:
            continue
        if len(parts) == 1:
            wrong.append(Fault(path, 0, "is no folder; make it one, with a folder for each host in it"))
        elif len(parts) == 2:
            _top(tree, path, hosts, wrong, hints)
        else:
            wrong += _below(tree, path, parts, hosts, hints)
        wrong += _double(path, hosts, taken)
    return tuple(wrong), tuple(dict.fromkeys(hints))


def _top(tree: Tree, path: str, hosts: Sequence[str], wrong: list[Fault], hints: list[str]) -> None:
    """A file directly in host_tests/: a short form, a folder that is a link, or nothing to us."""
    name = path.split("/")[1]
    if name in (*hosts, *RESERVED):
        wrong.append(Fault(path, 0, "is no folder; make it one, with the stages' folders in it"))
        return
    owners = [(host, end) for host in hosts for end, _ in SHORT_FORMS if name == host + end]
    if len(owners) > 1:
        wrong.append(Fault(path, 0, f"may mean {owners[0][0]} or {owners[1][0]}; use {ROOT}/HOST/STAGE/ instead"))
    elif owners:
        source = _read(tree, path)
        if source.fault or not source.executable:
            wrong.append(Fault(path, 0, source.fault or _NO_RUN_BIT.format(path=path)))
    elif name.endswith("-test.sh"):
        wanted = name.removesuffix("-test.sh").removesuffix("-smoke")
        hints.append(f"{path}: there is no host {wanted}{_near(wanted, hosts)}")


_NO_RUN_BIT = "has no run bit, so it would not run; `git update-index --chmod=+x {path}` sets it"


def _below(tree: Tree, path: str, parts: Sequence[str], hosts: Sequence[str], hints: list[str]) -> Iterator[Fault]:
    """A file in a folder of host_tests/."""
    owner = parts[1]
    if owner == "lib":
        hints.append(f"{ROOT}/lib/ is not sent to hosts: put what tests need beside them, in a stage's folder")
        return
    if owner != EVERY and owner not in hosts:
        hints.append(f"{ROOT}/{owner}/: there is no host {owner}{_near(owner, hosts)}")
        return
    source = _read(tree, path)
    if source.fault:
        yield Fault(path, 0, source.fault)
        return
    script = source.content.startswith(b"#!")
    if len(parts) == 3:
        if parts[2] in TEST_STAGES:
            yield Fault(path, 0, "is no folder; make it one and put the stage's tests in it")
        elif script or source.executable or parts[2].endswith(".bats"):
            yield Fault(path, 0, f"stands outside a stage and would not run; move it to one of {_STAGES_TEXT}")
        return
    if parts[2] not in TEST_STAGES:
        text = f'unknown stage "{parts[2]}"{_near(parts[2], TEST_STAGES)}; stages with tests: {_STAGES_TEXT}'
        yield Fault(path, 0, text)
        return
    name = "/".join(parts[3:])
    if not _PATH.fullmatch(name):
        yield Fault(path, 0, "has control characters or a backslash in its name; rename it")
    file = TestFile(StageName(parts[2]), "host", name, path, source.content, source.executable)
    if file.is_test and not _NAME.fullmatch(name):
        yield Fault(path, 0, "a test's name holds letters, digits and ._+@,=%- only, no blanks; rename it")
    elif script and not source.executable and not file.is_test and len(parts) == 4:
        yield Fault(path, 0, _NO_RUN_BIT.format(path=path))
    elif source.executable and len(parts) == 4 and name.startswith("."):
        hints.append(f"{path}: its name begins with a dot, so it is data and does not run")


def _double(path: str, hosts: Sequence[str], taken: dict[tuple[str, StageName, str], str]) -> Iterator[Fault]:
    """A short form and a full one that mean the same file."""
    for host in hosts:
        if (place := _place(path, host)) is None or place[1] == EVERY:
            continue
        stage, _, name = place
        other = taken.setdefault((host, stage, name), path)
        if other != path:
            yield Fault(path, 0, f"means the same test as {other}; keep one of them")


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f'; did you mean "{near[0]}"?' if near else ""
