"""Real pushes by path through the real hooks, with no toto and no Redis running."""
# ruff: noqa: E501 - tables of inputs read best in wide lines

from __future__ import annotations

import os
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from hooks import described, install
from hooks.receiver import Receiver
from tests.fakes.pushing import SOUND, Pushing

HOST = SOUND["fleet.toml"]
OWN = 'suite = "bookworm"\n'


@pytest.fixture
def pushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pushing:
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("TOTO_PUSHER", "ada")
    return Pushing(tmp_path)


def quick(pushing: Pushing) -> None:
    """Break the second half: from now on only what needs none of it passes."""
    hook = pushing.bare / "hooks" / "pre-receive"
    hook.write_text(hook.read_text().replace("hook pre-receive", "no such hook"))


# --- a sound fleet -----------------------------------------------------------------------------------------------


def test_a_sound_push_is_taken_noted_and_told(pushing: Pushing) -> None:
    answer = pushing.push()
    assert answer.code == 0, answer.text
    head = pushing.head()
    assert pushing.taken() == {"main": head}
    (note,) = pushing.notes()
    assert len(identity := note.pop("id")) == 12
    assert note == {"repo": "home", "ref": "refs/heads/main", "old": "0" * 40, "new": head, "pusher": "ada"}
    assert answer.said == [
        "toto: main: a new branch; will be planned, and what it changes rehearsed and deployed",
        f"toto:   http://127.0.0.1:8686/pushes/{identity}",
        "toto: toto is not running: the push is kept, and planned when it is back",
    ]


def test_a_push_outside_the_description_needs_no_python(pushing: Pushing) -> None:
    pushing.push()
    quick(pushing)
    pushing.write({"README": "more", "docs/x": "y"})
    assert pushing.push().code == 0
    assert pushing.push("origin", "main:main", "-o", "toto.follow").code == 0
    assert len(pushing.notes()) == 2


@pytest.mark.parametrize(
    "path", ["fleet.toml", "hosts/web.toml", "hosts/new.toml", "roles/base.toml", "host_tests/web/smoke/a", "flake.nix"]
)
def test_a_push_that_touches_the_description_is_checked(pushing: Pushing, path: str) -> None:
    pushing.push()
    quick(pushing)
    pushing.write({path: f"# changed\n{SOUND.get(path, '')}"})
    answer = pushing.push()
    assert answer.code == 1
    assert "could not be checked" in answer.text


def test_the_description_of_branches_from_before_the_list_is_known(pushing: Pushing) -> None:
    pushing.write({"hosts/web.toml": OWN + 'files."/etc/x".source = "../other/x"\n', "other/x": "1"})
    pushing.push("origin", "main:side")
    (pushing.bare / "toto" / "described").unlink()
    pushing.git("checkout", "-q", "-b", "clean", "HEAD^")
    pushing.push("origin", "clean:main")
    assert "other/x" in described.listed(pushing.bare)
    pushing.git("checkout", "-q", "main")
    pushing.write({"other/x": None})
    answer = pushing.push("origin", "main:side")
    assert answer.code == 1
    assert 'there is no file "other/x"' in answer.text


# --- what is wrong, one by one -----------------------------------------------------------------------------------

WRONG = {
    "syntax": ({"fleet.toml": HOST + "port = \n"}, "fleet.toml:6: is not TOML"),
    "unknown key": ({"fleet.toml": HOST + 'adress = "x"\n'}, 'fleet.toml:6: unknown key "adress" in [hosts.web]; did you mean'),
    "type": ({"fleet.toml": HOST + 'port = "22"\n'}, "fleet.toml:6: [hosts.web] port: wants a whole number, not text"),
    "backend": ({"fleet.toml": HOST.replace("debian", "debain")}, 'fleet.toml:4: [hosts.web] backend: "debain" is no backend'),
    "name as option": ({"fleet.toml": HOST.replace("hosts.web", 'hosts."-web"')}, 'fleet.toml:3: "-web" is no host name'),
    "name as path": ({"fleet.toml": HOST.replace("hosts.web", 'hosts."../web"')}, 'fleet.toml:3: "../web" is no host name'),
    "host named all": ({"fleet.toml": HOST.replace("hosts.web", "hosts.all")}, 'fleet.toml:3: a host cannot be called "all"'),
    "address as option": ({"fleet.toml": HOST.replace("web.lan", "-oProxyCommand=x")}, 'fleet.toml:5: [hosts.web] address: "-oProxy'),
    "address as path": ({"fleet.toml": HOST.replace("web.lan", "/etc/x")}, 'fleet.toml:5: [hosts.web] address: "/etc/x" is neither'),
    "user as option": ({"fleet.toml": HOST + 'user = "-lroot"\n'}, 'fleet.toml:6: [hosts.web] user: "-lroot" is no user name'),
    "jump as option": ({"fleet.toml": HOST + 'jump = "-oX=y"\n'}, "fleet.toml:6: [hosts.web] jump: "),
    "package name": ({"hosts/web.toml": OWN + 'packages = ["-oDebug=1"]\n'}, 'hosts/web.toml:2: packages: "-oDebug=1" is no package'),
    "package as removal": ({"hosts/web.toml": OWN + 'packages = ["nginx-"]\n'}, 'hosts/web.toml:2: packages: "nginx-" is no package'),
    "package in an include": ({"roles/base.toml": '\npackages = ["X"]\n'}, 'roles/base.toml:2: packages: "X" is no package'),
    "missing host file": ({"hosts/web.toml": None}, 'fleet.toml:3: [hosts.web]: there is no file "hosts/web.toml"'),
    "missing include": ({"roles/base.toml": None}, 'hosts/web.toml:2: include: there is no file "roles/base.toml"'),
    "source that climbs": (
        {"hosts/web.toml": OWN + 'files."/etc/x".source = "../../x"\n'},
        'hosts/web.toml:2: [files."/etc/x"] source: "../../x" leads out of the repository',
    ),
    "source that links out": (
        {"hosts/web.toml": OWN + 'files."/etc/x".source = "x"\n', "hosts/x": "-> /etc/shadow"},
        'hosts/web.toml:2: [files."/etc/x"] source: "x": "hosts/x" links out of the repository, to "/etc/shadow"',
    ),
    "source through a folder that links out": (
        {"hosts/web.toml": OWN + 'files."/etc/x".source = "d/shadow"\n', "hosts/d": "-> ../../etc"},
        'hosts/web.toml:2: [files."/etc/x"] source: "d/shadow" leads out of the repository',
    ),
    "no fleet.toml": ({"fleet.toml": None}, "fleet.toml: is missing"),
    "test without its run bit": ({"host_tests/web/smoke/a.sh": "#! /bin/sh\n"}, "host_tests/web/smoke/a.sh"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_push_with_a_fault_is_refused_with_its_place(pushing: Pushing, what: str) -> None:
    pushing.push()
    before = pushing.taken()
    files, expected = WRONG[what]
    pushing.write(files)
    if "run bit" in what:
        (pushing.work / "host_tests/web/smoke/a.sh").chmod(0o644)
        pushing.write({})
    answer = pushing.push()
    assert answer.code == 1
    assert any(line.startswith(expected) for line in answer.said), answer.text
    assert pushing.taken() == before
    assert len(pushing.notes()) == 1


def test_all_faults_are_told_together(pushing: Pushing) -> None:
    pushing.write(
        {
            "fleet.toml": HOST + 'prot = 1\nuser = "-x"\n',
            "hosts/web.toml": OWN + 'include = ["../roles/base.toml"]\nunits.enable = ["x"]\n',
            "roles/base.toml": 'packages = ["X", "y-"]\n',
            "host_tests/all": "a file\n",
        }
    )
    said = pushing.push().said
    assert said[0].startswith("toto: main is refused, for 6 faults")
    assert [line.split(" ")[0] for line in said[1:7]] == [
        "fleet.toml:6:", "fleet.toml:7:", "host_tests/all:", "hosts/web.toml:3:", "roles/base.toml:1:", "roles/base.toml:1:",
    ]  # fmt: skip
    assert said[7] == "toto: nothing of this push was taken; correct it and push again"


def test_what_was_pushed_cannot_write_on_the_terminal(pushing: Pushing) -> None:
    pushing.write({"fleet.toml": HOST + '"\\u001b[2Jx" = 1\n'})
    answer = pushing.push()
    assert answer.code == 1
    assert "\x1b[2J" not in answer.text
    assert r"\x1b[2Jx" in answer.text


# --- kinds of pushes ---------------------------------------------------------------------------------------------


def test_a_branch_that_is_not_deployed(pushing: Pushing) -> None:
    answer = pushing.push("origin", "main:feature")
    assert answer.said[0] == (
        "toto: feature: a new branch; will be rehearsed, not deployed: main is the branch that is deployed"
    )
    pushing.write({"README": "x"})
    answer = pushing.push("origin", "main:feature")
    assert answer.said[0] == "toto: feature: will be rehearsed, not deployed: main is the branch that is deployed"
    assert pushing.notes()[1]["ref"] == "refs/heads/feature"


def test_a_faulty_branch_that_is_not_deployed_is_refused_too(pushing: Pushing) -> None:
    pushing.write({"fleet.toml": HOST + "x = 1\n"})
    assert "toto: feature is refused, for a fault" in pushing.push("origin", "main:feature").text


def test_a_branch_that_is_no_fleet_is_taken_and_nothing_planned(pushing: Pushing) -> None:
    pushing.push()
    pushing.git("checkout", "-q", "--orphan", "pages")
    pushing.git("rm", "-rqf", ".")
    pushing.write({"index.html": "x"})
    answer = pushing.push("origin", "pages")
    assert answer.code == 0
    assert answer.said[0] == "toto: pages: a new branch; has no fleet.toml, so nothing is planned for it"


def test_a_deleted_branch(pushing: Pushing) -> None:
    pushing.push("origin", "main", "main:feature")
    answer = pushing.push("origin", ":feature")
    assert answer.code == 0
    assert answer.said[0] == "toto: feature: the branch is gone; the hosts stay as they are"
    assert pushing.notes()[-1]["new"] == "0" * 40


def test_the_deployed_branch_is_not_deleted(pushing: Pushing) -> None:
    pushing.push()
    answer = pushing.push("origin", ":main")
    assert answer.code == 1
    assert "main is the branch that is deployed: it cannot be deleted" in answer.text
    assert "main" in pushing.taken()


def test_a_forced_push(pushing: Pushing) -> None:
    pushing.write({"README": "one"})
    pushing.push()
    pushing.git("reset", "-q", "--hard", "HEAD^")
    head = pushing.write({"README": "other"})
    assert pushing.push().code == 1
    answer = pushing.push("-f", "origin", "main")
    assert answer.code == 0, answer.text
    assert answer.said[0].startswith("toto: main: a forced push, which leaves older commits behind; will be planned")
    assert pushing.taken()["main"] == head


def test_a_merge(pushing: Pushing) -> None:
    pushing.push()
    pushing.git("checkout", "-q", "-b", "side")
    pushing.write({"docs/a": "a"})
    pushing.git("checkout", "-q", "main")
    pushing.write({"README": "b"})
    pushing.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    answer = pushing.push()
    assert answer.code == 0
    assert answer.said[0] == "toto: main: will be planned, and what it changes rehearsed and deployed"
    assert pushing.notes()[-1]["new"] == pushing.head()


def test_a_tag(pushing: Pushing) -> None:
    pushing.push()
    quick(pushing)
    pushing.git("tag", "-a", "v1", "-m", "one")
    answer = pushing.push("origin", "v1")
    assert answer.code == 0
    assert answer.said[0] == "toto: tags/v1: tags are not deployed; branches are"
    assert pushing.notes()[-1]["ref"] == "refs/tags/v1"


def test_several_refs_in_one_push_have_a_note_each_in_order(pushing: Pushing) -> None:
    pushing.git("tag", "v1")
    answer = pushing.push("origin", "main", "main:a", "main:b", "v1")
    assert answer.code == 0
    notes = pushing.notes()
    assert sorted(note["ref"] for note in notes) == ["refs/heads/a", "refs/heads/b", "refs/heads/main", "refs/tags/v1"]
    assert len({note["id"] for note in notes}) == 4
    assert [note["id"] for note in notes] == [line.rsplit("/", 1)[1] for line in answer.said if "/pushes/" in line]


def test_of_several_refs_each_faulty_one_is_named_and_none_is_taken(pushing: Pushing) -> None:
    pushing.push()
    pushing.git("checkout", "-q", "-b", "bad1")
    pushing.write({"fleet.toml": HOST + "x = 1\n"})
    pushing.git("checkout", "-q", "-b", "bad2", "main")
    pushing.write({"fleet.toml": HOST + "y = 1\n"})
    answer = pushing.push("origin", "bad1", "bad2", "main:good")
    assert answer.code == 1
    assert [line for line in answer.said if line.startswith("toto:")] == [
        "toto: bad1 is refused, for a fault in the fleet's files:",
        "toto: bad2 is refused, for a fault in the fleet's files:",
        "toto: nothing of this push, not one of its 3 refs, was taken; correct it and push again",
    ]
    assert list(pushing.taken()) == ["main"]


# --- push options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("toto.skip", "noted, and left for the next push (toto.skip)"),
        ("toto.plan", "will be planned only; nothing is built (toto.plan)"),
        ("toto.rehearse", "will be rehearsed, not deployed (toto.rehearse)"),
        ("toto.again", "will be planned, and what it changes rehearsed and deployed"),
    ],
)
def test_push_options_are_noted_and_told(pushing: Pushing, option: str, text: str) -> None:
    answer = pushing.push("-o", option, "-o", "ci.skip", "origin", "main")
    assert answer.said[0] == f"toto: main: a new branch; {text}"
    assert pushing.notes()[0]["option"] == option


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["toto.skp"], 'unknown push option "toto.skp"; did you mean "toto.skip"?'),
        (["toto"], 'unknown push option "toto"'),
        (["toto.skip", "toto.plan"], "the push options toto.plan and toto.skip exclude each other"),
    ],
)
def test_push_options_that_mean_nothing_are_refused(pushing: Pushing, options: list[str], text: str) -> None:
    pushing.push()
    pushing.write({"README": "x"})
    answer = pushing.push(*[part for option in options for part in ("-o", option)], "origin", "main")
    assert answer.code == 1
    assert text in answer.text


class Nobody:
    """A queue that takes everything."""

    def enqueue_plan(self, push_id: str) -> None:
        pass


@pytest.mark.parametrize("stale", ["", "pid", "boot", "name"])
def test_whether_toto_runs_is_told_by_its_process(pushing: Pushing, stale: str) -> None:
    stopping = threading.Event()
    receiver = threading.Thread(
        target=Receiver(pushing.store, Nobody(), pushing.config).run, args=(stopping.is_set,), kwargs={"every": 0.1}
    )
    sign = pushing.config.data / "spool" / "receiver"
    receiver.start()
    try:
        deadline = time.monotonic() + 20
        while not sign.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pid, boot, name = sign.read_text().split(" ", 2)
        changed = {"pid": "4194305" if stale == "pid" else pid, "boot": "x" if stale == "boot" else boot}
        sign.write_text(f"{changed['pid']} {changed['boot']} {'x' if stale == 'name' else ''}{name}")
        assert ("toto is not running" in pushing.push().text) == bool(stale)
    finally:
        stopping.set()
        receiver.join(20)


def test_following_goes_on_to_toto_follow_with_the_deployed_branch(pushing: Pushing, tmp_path: Path) -> None:
    follow = tmp_path / "toto"
    follow.write_text(
        f'#!/bin/sh\n[ $1 = follow ] || exec {" ".join(install.command())} "$@"\necho "following $2 of $TOTO_DATA"\n'
    )
    follow.chmod(0o755)
    for name in install.HOOKS:
        hook = pushing.bare / "hooks" / name
        hook.write_text(hook.read_text().replace(" ".join(install.command()), str(follow)))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    comm = Path("/proc/self/comm").read_text()
    (pushing.config.data / "spool" / "receiver").write_text(f"{os.getpid()} {boot} {comm}")
    answer = pushing.push("-o", "toto.follow", "origin", "main:a", "main", "main:z")
    assert answer.code == 0
    main = next(note["id"] for note in pushing.notes() if note["ref"] == "refs/heads/main")
    assert answer.said[-1] == f"following {main} of {pushing.config.data}"


def test_following_without_a_toto_says_so(pushing: Pushing) -> None:
    answer = pushing.push("-o", "toto.follow", "origin", "main")
    assert answer.code == 0
    assert answer.said[-1] == f"toto: so there is nothing to follow yet; later: toto follow {pushing.notes()[0]['id']}"


# --- who pushed, and what else may be wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "pusher"),
    [
        ({"TOTO_PUSHER": "ada l.\nend"}, "ada l."),
        ({"TOTO_PUSHER": "", "SUDO_USER": "bob"}, "bob"),
        ({"TOTO_PUSHER": "", "SUDO_USER": "", "LOGNAME": "cy"}, "cy"),
        ({"TOTO_PUSHER": "", "SUDO_USER": "", "LOGNAME": "", "USER": "dee"}, "dee"),
    ],
)
def test_who_pushed(pushing: Pushing, env: dict[str, str], pusher: str) -> None:
    pushing.push(**env)
    assert pushing.notes()[0]["pusher"] == pusher


def test_who_pushed_where_no_variable_says_it(pushing: Pushing) -> None:
    pushing.push(TOTO_PUSHER="", SUDO_USER="", LOGNAME="", USER="")
    assert pushing.notes()[0]["pusher"] == subprocess.check_output(["id", "-un"], text=True).strip()


@pytest.mark.parametrize("command", ["/nowhere/toto", "false", "sh -c 'kill -9 $$'"])
def test_a_broken_check_refuses_and_blames_nobodys_files(
    pushing: Pushing, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = pushing.bare / "hooks" / "pre-receive"
    hook.write_text(hook.read_text().replace(" ".join(install.command()), command))
    answer = pushing.push()
    assert answer.code == 1
    assert "could not be checked, so it is refused. That says nothing about the files" in answer.text
    assert "toto doctor" in answer.text
    assert pushing.taken() == {}


def test_hooks_are_refreshed_only_where_they_differ(pushing: Pushing) -> None:
    hook = pushing.bare / "hooks" / "pre-receive"
    before = hook.stat()
    install.install(pushing.config, pushing.bare)
    assert hook.stat().st_ino == before.st_ino
    hook.write_text("#!/bin/sh\nexit 0\n")
    install.install(pushing.config, pushing.bare)
    assert "could not be checked" in hook.read_text()
    assert os.access(hook, os.X_OK)
    assert "@" not in "".join(line for line in hook.read_text().splitlines() if "TOTO" in line)


def test_notes_are_writable_by_the_group_whatever_the_pushers_umask(pushing: Pushing) -> None:
    previous = os.umask(0o077)
    try:
        pushing.push()
    finally:
        os.umask(previous)
    (path,) = (pushing.config.data / "spool").glob("*.push")
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert stat.S_IMODE((pushing.bare / "toto" / "described").stat().st_mode) == 0o664


def test_a_note_that_cannot_be_written_is_told(pushing: Pushing) -> None:
    pushing.push()
    spool = pushing.config.data / "spool"
    spool.rename(spool.with_name("gone"))
    pushing.write({"README": "x"})
    answer = pushing.push()
    assert answer.code == 0
    assert "could not be noted" in answer.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_and_a_member_of_the_group_push_to_a_repository_of_somebody_else(pushing: Pushing, tmp_path: Path) -> None:
    for place in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        place.chmod(0o755)
    subprocess.run(["chown", "-R", "backup:operator", str(pushing.config.data)], check=True)
    install.install(pushing.config, pushing.bare)
    assert pushing.push().code == 0
    pushing.write({"README": "x"})
    subprocess.run(["chown", "-R", "games:operator", str(pushing.work)], check=True)
    done = subprocess.run(
        ["git", "push", "origin", "main"], cwd=pushing.work, user="games", group="operator", extra_groups=[], timeout=60,
        capture_output=True, text=True, env={"PATH": os.environ["PATH"], "GIT_CONFIG_SYSTEM": str(tmp_path / "gitconfig")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spool = pushing.config.data / "spool"
    assert {path.stat().st_gid for path in spool.glob("*.push")} == {spool.stat().st_gid}
    assert len(pushing.notes()) == 2


def test_a_push_is_received_when_toto_is_back(pushing: Pushing) -> None:
    pushing.push()
    asked: list[str] = []

    class Asked:
        def enqueue_plan(self, push_id: str) -> None:
            asked.append(push_id)

    receiver = Receiver(pushing.store, Asked(), pushing.config)
    identity = pushing.notes()[0]["id"]
    assert receiver.drain() == 1
    assert asked == [identity]
    push = pushing.store.push(identity)
    assert push is not None
    assert (push.pusher, push.subject, push.state) == ("ada", "change", "received")
    assert not pushing.notes()
