"""Commands that set toto up and keep it going."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
import tomllib
from pathlib import Path

from server import up as embedded
from server.core import fleet, fleet_values, people, privileges, repos
from server.core.config import Config
from server.core.definition import HostEntry
from server.core.errors import QueueTrouble, Refused, UsageFault
from server.core.model import Repo
from server.core.queue import Queue
from server.core.states import Backend
from server.core.store import Store

LONG_ENOUGH = 8
"""Characters of an administrator's password (NIST SP 800-63B asks for 8 at the least)."""


def tell(sentence: str) -> None:
    """A line for whoever watches, at once. That nobody watches any more (a closed pipe) ends nothing."""
    with contextlib.suppress(BrokenPipeError):
        print(sentence, flush=True)


def up(config: Config, _arguments: argparse.Namespace) -> int:
    """`toto up`."""
    if not _has_administrator(config):
        tell("no administrator yet: `toto init` makes one, who may press the buttons")
    embedded.up(config, tell)
    return 0


def _has_administrator(config: Config) -> bool:
    if not config.database and not (config.data / "toto.db").exists():
        return False
    store = Store(config)
    try:
        return bool(store.users())
    finally:
        store.close()


def init(config: Config, arguments: argparse.Namespace) -> int:
    """`toto init`: keys, and the first administrator; nothing that is there is changed without being asked for."""
    from deploy import signing

    name, password = _answers(arguments.answers) if arguments.answers else _ask()
    prepare(config)
    store = Store(config)
    people.set_password(store, name, password, "administrator")
    store.add_act(embedded.whoami(), "init", name)
    store.close()
    signing.keys(config.folder("keys", "release"))
    signing.deploy_key(config.folder("keys", "deploy"))
    privileges.prepare(config)
    tell(f"administrator {name}; keys in {config.folder('keys')}")
    return 0


def prepare(config: Config) -> None:
    """The data folder and, for root, the users it belongs to."""
    if os.geteuid() == 0:
        privileges.make_users()
    privileges.prepare(config)


def _answers(path: str) -> tuple[str, str]:
    try:
        given = tomllib.loads(Path(path).read_text())
        given = {**given, **_password_file(Path(path), given)}
    except (OSError, ValueError) as error:  # tomllib's and a text's faults are ValueErrors
        raise UsageFault(f"cannot be read: {error}", where=path) from error
    unknown = set(given) - {"user", "password", "password_file"}
    if unknown:
        raise UsageFault(f'unknown key "{sorted(unknown)[0]}"', where=path, mend="known: user, password, password_file")
    name, password = str(given.get("user") or ""), str(given.get("password") or "")
    return _valid(name, password, path)


def _password_file(path: Path, given: dict[str, object]) -> dict[str, object]:
    """The password from the file that the answers name, relative to theirs."""
    if "password_file" not in given:
        return {}
    return {"password": path.parent.joinpath(str(given["password_file"])).read_text().strip()}


def _ask() -> tuple[str, str]:
    if not sys.stdin.isatty():
        raise UsageFault(
            "there is no terminal to ask on", mend="`toto init --answers FILE` with user and password_file"
        )
    try:
        name = input("Administrator's name: ").strip()
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Again: "):
            raise UsageFault("the two passwords differ")
    except EOFError:
        raise UsageFault("no answer was given", mend="say it again, or `toto init --answers FILE`") from None
    return _valid(name, password, "")


def _valid(name: str, password: str, where: str) -> tuple[str, str]:
    if not name or not name.isprintable() or len(name) > 64:
        raise UsageFault("the administrator wants a name of up to 64 characters", where=where, mend="give `user`")
    if len(password) < LONG_ENOUGH:
        raise UsageFault(f"the password wants {LONG_ENOUGH} characters or more", where=where)
    return name, password


def repo_add(config: Config, arguments: argparse.Namespace) -> int:
    """`toto repo add NAME`: prints the line for `git remote add`."""
    from hooks.install import add_repository

    repos.check_name(arguments.name)
    repos.check_ref(arguments.branch or "main")
    prepare(config)
    store = Store(config)
    known = store.repo(arguments.name)
    branch = arguments.branch or (known.branch if known else "main")
    path = add_repository(config, arguments.name, branch, store)
    store.add_act(embedded.whoami(), "repo add", arguments.name, None, branch=branch)
    store.close()
    privileges.prepare(config)
    tell(f"git remote add toto {path}")
    return 0


def host_enrol(config: Config, arguments: argparse.Namespace) -> int:
    """`toto host enrol NAME`: prints what the target needs, as one line to run there; pins its host key.

    A host that no fleet names yet gets its line all the same: it depends on toto's keys alone.
    """
    from deploy import enrol

    try:
        name = fleet_values.host_name(arguments.name)
    except ValueError as error:
        raise UsageFault(str(error)) from None
    prepare(config)
    store = Store(config)
    repo, entry = _described(store, name)
    if entry is None:
        entry = HostEntry(name, Backend.DEBIAN, address="", config="")
    print(enrol.enrol_script(config, entry))
    privileges.prepare(config)
    if arguments.no_pin or entry.host_key:
        return 0
    if repo is None:
        tell_aside(
            f"no fleet names {entry.name} yet: put its host_key into fleet.toml, or say this again after the push"
        )
        return 0
    key = enrol.pin(config, entry)
    if not arguments.yes and not _agreed(f"{entry.address} shows {key.fingerprint}; pin it?"):
        raise Refused("the host key was not pinned", mend="compare it on the target, and say --yes")
    store.put_host(entry.name, repo.name, entry.backend, host_key=key.key, address=entry.address)
    store.add_act(embedded.whoami(), "pin host key", entry.name, None, fingerprint=key.fingerprint)
    tell_aside(f"pinned {key.fingerprint} for {entry.name}")
    return 0


def _described(store: Store, name: str) -> tuple[Repo | None, HostEntry | None]:
    """The host as the newest commit of a deployed branch describes it, and that repository."""
    for repo in store.repos():
        path = Path(repo.path)
        if (commit := repos.heads(path).get(repo.branch)) is not None:
            entry = fleet.load(repos.tree(path, commit)).host(name)
            if entry is not None:
                return repo, entry
    return None, None


def tell_aside(sentence: str) -> None:
    """A line for a person, kept apart from what a program reads."""
    print(sentence, file=sys.stderr, flush=True)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def worker(config: Config, arguments: argparse.Namespace) -> int:
    """`toto worker QUEUE`."""
    from jobs.worker import work

    work(config, arguments.queues, burst=arguments.burst)
    return 0


def reconcile(config: Config, arguments: argparse.Namespace) -> int:
    """`toto reconcile`: once; with --follow until told to stop."""
    embedded.keep(config, tell, once=not arguments.follow)
    if not arguments.follow and not Queue(config).ping():
        raise QueueTrouble("Redis does not answer: nothing was sent on its way", mend="see that `toto up` is running")
    return 0
