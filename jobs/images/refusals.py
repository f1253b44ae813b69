"""Why a definition cannot be locked: apt's answers as one clear sentence each."""

from __future__ import annotations

import difflib
import re

from jobs.images.apt_root import AptRoot
from server.core import process
from server.core.definition import DebianHost
from server.core.errors import BuildRefused, Trouble

_VERSION = re.compile(r"E: Version '(?P<version>[^']*)' for '(?P<name>[^']*)' was not found")
_NO_CANDIDATE = re.compile(r"E: Package '?(?P<name>[^' ]+)'? has no installation candidate")
_UNMET = "The following packages have unmet dependencies:"


def foreign(host: DebianHost, architecture: str) -> None:
    """Refuse packages of another architecture than the builder's: they could not be run in its VM."""
    for requirement in host.packages:
        name, _, wanted = requirement.name.partition(":")
        if wanted not in ("", architecture, "all"):
            raise BuildRefused(
                f'package "{name}" is wanted for {wanted}, and hosts are built for {architecture} alone',
                where=f"host {host.name}",
                mend=f'write "{name}" without the architecture',
            )


def unreachable(suite: str, update: process.Result) -> None:
    """Refuse a suite that the archives do not have; other faults of fetching the lists are the operator's.

    Raises:
        BuildRefused: The suite does not exist.
        Trouble: The archives cannot be reached or not be trusted.
    """
    if update.code == 0:
        return
    said = _text(update)
    lines = [line for line in said.splitlines() if line.startswith(("E:", "W:"))] or ["no reason given"]
    if re.search(r"404 +Not Found|File not found", said) and "does not have a Release file" in said:
        raise BuildRefused(
            f'the archives have no suite "{suite}"',
            mend="correct `suite`, or the sources in fleet.toml",
        )
    raise Trouble(
        f"the lists of {suite} cannot be fetched: {lines[0][2:].strip()}",
        mend="look at the network and this machine's apt sources, then retry",
    )


def unknown(host: DebianHost, root: AptRoot) -> None:
    """Refuse packages that do not exist, all of them in one sentence.

    apt itself would take an unknown name with a `.` or a `+` for a regular expression, and install whatever matches.
    """
    names = root.names()
    wanted = [requirement.name.partition(":")[0] for requirement in host.packages]
    missing = [name for name in wanted if name not in names]
    if missing:
        mentioned = root.mentioned()
        missing = [name for name in missing if name not in mentioned]
    if missing:
        hints = [f'"{name}"{_near(name, names)}' for name in missing]
        raise BuildRefused(
            f"Debian {host.suite} has no package {' and no package '.join(hints)}",
            where=f"host {host.name}",
            mend="correct `packages`",
        )


def _near(name: str, names: frozenset[str]) -> str:
    """A hint at the most similar name; those with the same first letter are enough, and quick."""
    near = difflib.get_close_matches(name, [other for other in names if other[:1] == name[:1]], 1, 0.75)
    return f' (did you mean "{near[0]}"?)' if near else ""


def unresolvable(host: DebianHost, root: AptRoot, result: process.Result) -> None:
    """Refuse what apt could not resolve: a version that does not exist, a package in name only, a conflict.

    Raises:
        BuildRefused: With the package and the reason.
        Trouble: apt failed for another reason.
    """
    if result.code == 0:
        return
    said = _text(result)
    where = f"host {host.name}"
    if match := _VERSION.search(said):
        name, version = match["name"], match["version"]
        has = ", ".join(root.versions(name)) or "none"
        raise BuildRefused(
            f'package "{name}" has no version {version} in {host.suite}', where=where, mend=f"the archives have: {has}"
        )
    if match := _NO_CANDIDATE.search(said):
        providers = re.findall(r"^  (\S+) \S+$", said, re.MULTILINE)
        raise BuildRefused(
            f'package "{match["name"]}" exists in name only in {host.suite}',
            where=where,
            mend=f"choose one of: {', '.join(providers)}" if providers else "correct `packages`",
        )
    if _UNMET in said:
        what = f"these packages cannot be together: {_conflict(said)}"
        raise BuildRefused(what, where=where, mend="correct `packages`")
    lines = [line for line in said.splitlines() if line.startswith("E:")] or said.strip().splitlines()[-1:]
    raise Trouble(f"apt cannot resolve the packages: {' '.join(lines) or 'no output'}", where=where)


def _conflict(said: str) -> str:
    """Apt's lines of unmet dependencies as one line."""
    block = said.partition(_UNMET)[2].splitlines()
    lines = [re.sub(r"\s+", " ", line.strip()) for line in block if line.startswith(" ")]
    return "; ".join(line.replace(" : ", " ", 1) for line in lines[:4]) + ("; …" if len(lines) > 4 else "")


def _text(result: process.Result) -> str:
    return (result.stdout + b"\n" + result.stderr).decode(errors="replace")
