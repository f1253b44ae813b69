"""The command line's contract: options, exit codes, one line for an error, and the fields that `--json` prints."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from server import cli
from server.commands import act, follow
from server.core import present
from server.core.config import Config
from server.core.log import LogWriter, log_path
from server.core.model import Generation, PlanRow, Push, Run
from server.core.states import ROLLBACK_STAGES, Action, Backend, RunState, StageName, StageState, stages_for
from server.core.store import Store
from server.core.store_base import now

NOWHERE = "redis://127.0.0.1:1/0"
COMMIT = "a" * 40


class Shell:
    """Runs commands on one data folder, in this process."""

    def __init__(self, config: Config, capture: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self._capture = capture

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output, complaints."""
        self._capture.readouterr()
        try:
            code = cli.main([*words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = self._capture.readouterr()
        return code, out, err

    def json(self, *words: str) -> Any:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def config(open_folder: Path) -> Config:
    """A data folder that toto's own users reach, as they must where root runs the tests."""
    return Config(data=open_folder / "data", redis=NOWHERE)


@pytest.fixture
def shell(config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TOTO_DATA", str(config.data))
    monkeypatch.setenv("TOTO_REDIS", NOWHERE)
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(follow, "UNHEARD_SECONDS", 0.05)
    return Shell(config, capsys)


def host(store: Store, name: str = "web", **values: Any) -> None:
    store.put_host(name, "home", Backend.DEBIAN, **values)


def run(store: Store, state: RunState = RunState.GOOD, name: str = "web", **values: Any) -> Run:
    made = store.add_run(
        stages_for(Action.DEPLOY), repo="home", host=name, commit=COMMIT, cause="push", identity="i", **values
    )
    if state.final:
        store.finish_run(made.id, 1, state, f"it is {state}")
    found = store.run(made.id)
    assert found is not None
    return found


def push(store: Store, push_id: str = "00aa11bb22cc", state: str = "planned", runs: Sequence[str] = ()) -> Push:
    made = Push(push_id, "home", "refs/heads/main", "0" * 40, COMMIT, "ada", now())
    store.add_push(made)
    rows = []
    for name in runs:
        fields = {"repo": "home", "host": name, "commit": COMMIT, "cause": "push", "ref": made.ref}
        rows.append((PlanRow(name, True, Action.DEPLOY, "new", "i"), fields, stages_for(Action.DEPLOY)))
    if state == "planned":
        store.save_plan(push_id, [*rows, (PlanRow("db", False, Action.NONE, "as it is", "j"), None, ())])
    elif state != "received":
        store.set_push(push_id, state=state, reason="so it is")
    return made


# --- parsing


@pytest.mark.parametrize(
    "words",
    [
        [], ["nonsense"], ["gc"], ["backup", "x"], ["restore", "x"], ["repo"], ["host"], ["config"], ["plan", "home"],
        ["runs", "--limit", "0"], ["runs", "--limit", "-1"], ["runs", "--limit", "x"], ["runs", "--limit", "9" * 30],
        ["pushes", "--limit", "0"], ["runs", "--state", "bogus"], ["rollback", "web", "--to", "-1"],
        ["hold", "web"], ["hold", "-m", "x"], ["hosts", "--js"], ["--data", "x", "hosts"], ["rebuild", "web", "--ag"],
        ["judge", "--exit", "x"], ["up", "--port", "x"], ["runs", "--host"],
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_exit_code_2(shell: Shell, words: list[str]) -> None:
    code, out, err = shell(*words)
    assert (code, out) == (2, "")
    assert err.startswith("toto: ")
    assert err.count("\n") == 1
    assert "--help` tells how" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hosts", "nil"], "toto knows no host nil"),
        (["hosts", "@nil"], "no host has the tag nil"),
        (["runs", "7"], "there is no run 7; `toto runs` lists them"),
        (["runs", "-7"], "there is no run -7"),
        (["runs", "9" * 40], "there is no run 999"),
        (["runs", "--host", "nil"], "toto knows no host nil"),
        (["pushes", "00aa11bb22cd"], "there is no push 00aa11bb22cd"),
        (["logs", "7"], "there is no run 7"),
        (["plan", "nil", "main"], "toto has no repository nil"),
        (["plan", "nil", "--", "-x"], "toto has no repository nil"),
        (["judge", "/nil"], "/nil cannot be read: No such file or directory"),
        (["judge", "/"], "/ cannot be read: Is a directory"),
        (["rebuild", "nil"], "toto knows no host nil"),
        (["rollback", "nil"], "toto knows no host nil"),
        (["verify", "@nil"], "no host has the tag nil"),
        (["hold", "web", "nil", "-m", "x"], "toto knows no host nil"),
        (["unhold", "web"], "web is not held"),
        (["update", "nil"], "toto knows no host nil"),
        (["retry", "7"], "there is no run 7"),
        (["cancel", "7"], "there is no run 7"),
        (["follow", "7"], "there is no push or run 7"),
        (["follow", "main"], "there is no push or run main"),
        (["follow", "00aa11bb22cd"], "there is no push 00aa11bb22cd"),
        (["worker", "nil"], "there is no queue nil"),
        (["repo", "add", "../x"], "'../x' is no name for a repository"),
        (["repo", "add", "--", "-x"], "'-x' is no name for a repository"),
        (["repo", "add", "x", "--branch=-x"], "'-x' is no branch"),
        (["host", "enrol", "../x"], "../x"),
        (["init"], "there is no terminal to ask on"),
        (["init", "--answers", "/nil"], "/nil: cannot be read"),
        (["up", "--port", "0"], "port is between 1 and 65535, not 0"),
        (["up", "--workers", "-1"], "workers is between 1 and 64, not -1"),
    ],
)
def test_what_does_not_exist_is_one_line_and_exit_code_2(
    shell: Shell, store: Store, words: list[str], told: str
) -> None:
    host(store)
    code, _, err = shell(*words)
    assert code == 2
    assert err.startswith("toto: ")
    assert told in err
    assert err.count("\n") == 1


def test_nothing_is_held_where_one_of_the_hosts_is_unknown(shell: Shell, store: Store) -> None:
    host(store)
    shell("hold", "web", "nil", "-m", "x")
    found = store.host("web")
    assert found is not None
    assert found.held_by is None


def test_an_error_is_json_too_where_json_was_asked_for(shell: Shell) -> None:
    code, out, err = shell("runs", "7", "--json")
    assert code == 2
    assert json.loads(out) == {"error": "there is no run 7", "where": "", "mend": "`toto runs` lists them"}
    assert err == "toto: there is no run 7; `toto runs` lists them\n"


def test_a_fault_of_totos_own_is_a_sentence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(Store, "hosts", broken)
    code, _, err = shell("hosts")
    assert (code, err) == (5, "toto: toto itself broke: ZeroDivisionError: a b; `--debug` shows where\n")
    assert "Traceback" in shell("hosts", "--debug")[2]


def test_a_data_folder_that_is_a_file_is_a_sentence(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = shell("hosts", "--data", str(tmp_path / "file" / "x"))
    assert code == 2
    assert err.startswith(f"toto: {tmp_path / 'file'}")
    assert err.count("\n") == 1


def test_a_wrong_setting_is_wrong_usage(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTO_PORT", "many")
    assert shell("hosts")[0] == 2
    monkeypatch.setenv("TOTO_PORT", "65536")
    assert "TOTO_PORT: port is between 1 and 65535" in shell("hosts")[2]


def test_the_data_folder_comes_from_the_option_first_and_is_made(shell: Shell, tmp_path: Path) -> None:
    assert shell("hosts", "--data", str(tmp_path / "a" / "b"))[0] == 0
    assert (tmp_path / "a" / "b" / "toto.db").exists()
    assert not (shell.config.data / "toto.db").exists()


def test_version(shell: Shell) -> None:
    assert shell("--version")[1].startswith("toto ")


# --- --json


TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def test_hosts(shell: Shell, store: Store) -> None:
    assert shell.json("hosts") == []
    host(store, tags=["edge"])
    host(store, "db")
    store.put_generation(Generation("web", 0, None, None, None, "good", now()))
    assert [each["host"] for each in shell.json("hosts")] == ["db", "web"]
    one = shell.json("hosts", "web")[0]
    wanted = {"host": "web", "backend": "debian", "state": "new", "commit": None, "generation": None, "last_good": None}
    assert wanted.items() <= one.items()
    assert one["generations"][0]["number"] == 0
    assert [each["host"] for each in shell.json("hosts", "@edge")] == ["web"]


def test_runs(shell: Shell, store: Store) -> None:
    assert shell.json("runs") == []
    host(store)
    first, second = run(store), run(store, RunState.FAILED, "db")
    listed = shell.json("runs")
    assert [each["id"] for each in listed] == [second.id, first.id]
    assert set(listed[0]) >= {"id", "host", "commit", "cause", "state", "created", "started", "finished"}
    assert listed[0]["id"] == second.id
    assert isinstance(listed[0]["id"], str)
    assert listed[0]["started"] is None
    assert datetime.strptime(listed[0]["finished"], TIME)
    assert [each["id"] for each in shell.json("runs", "--limit", "1")] == [second.id]
    assert [each["id"] for each in shell.json("runs", "--host", "web")] == [first.id]
    assert [each["id"] for each in shell.json("runs", "--state", "failed")] == [second.id]
    assert shell.json("runs", "--state", "waiting", "--host", "web") == []


def test_one_run(shell: Shell, store: Store) -> None:
    said = shell.json("runs", run(store, RunState.FAILED).id)
    assert set(said) >= {"reason", "release", "generation", "stages"}
    assert [stage["name"] for stage in said["stages"]][:2] == ["build", "boot"]
    assert set(said["stages"][0]) >= {"name", "state", "started", "finished", "checks"}
    assert said["stages"][0]["checks"] == {"passed": 0, "failed": 0, "skipped": 0, "todo": 0}


def test_pushes(shell: Shell, store: Store) -> None:
    push(store, runs=["web"])
    assert [each["id"] for each in shell.json("pushes")] == ["00aa11bb22cc"]
    one = shell.json("pushes", "00aa11bb22cc")
    assert set(one) >= {"id", "repo", "ref", "old", "new", "pusher", "received", "plan", "runs"}
    assert {row["host"]: row["action"] for row in one["plan"]["hosts"]} == {"web": "deploy", "db": "none"}
    assert set(one["plan"]["hosts"][0]) >= {"host", "changed", "action", "reason", "identity"}
    assert [each["host"] for each in one["runs"]] == ["web"]
    push(store, "00aa11bb22cd", "received")
    assert shell.json("pushes", "00aa11bb22cd")["plan"] is None


def test_judge(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "a.tap"
    file.write_text("1..2\nok 1 - a\nnot ok 2 - b # TODO later\n")
    said = shell.json("judge", str(file))
    names = {"ok", "planned", "passed", "failed", "skipped", "todo", "bailed_out", "problems", "checks"}
    assert set(said) >= names
    names = {"number", "ok", "description", "directive", "reason", "diagnostics", "subtests"}
    assert set(said["checks"][0]) >= names
    assert said["checks"][0]["description"] == "a"
    assert shell("judge", str(file), "--exit", "1")[0] == 1


def test_config_explain(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTO_PORT", "9000")
    said = shell.json("config", "explain")
    assert said["port"] == {"value": 9000, "from": "TOTO_PORT"}
    assert said["data"]["from"] == "TOTO_DATA"
    assert said["workers"]["from"] == "default"


def test_times_are_utc_to_the_millisecond() -> None:
    assert present.time_json(datetime.fromisoformat("2026-11-03T15:05:09.1204+01:00")) == "2026-11-03T14:05:09.120Z"


# --- exit codes of what follows


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("good", 0), ("rehearsed", 0), ("no-op", 0), ("failed", 1), ("rolled-back", 3), ("rollback-failed", 4),
        ("error", 5), ("superseded", 6), ("cancelled", 6), ("held", 6),
    ],
)  # fmt: skip
def test_follow_ends_with_the_runs_state(shell: Shell, store: Store, state: str, code: int) -> None:
    made = run(store, RunState(state))
    ended, out, _ = shell("follow", made.id)
    assert ended == code
    assert f"web: {state}" in out
    ended, out, _ = shell("follow", made.id, "--json")
    assert (ended, json.loads(out)["state"]) == (code, state)


def test_every_stage_that_ended_has_a_line(shell: Shell, store: Store) -> None:
    made = run(store, RunState.RUNNING)
    store.start_stage(made.id, 1, StageName.BUILD)
    store.finish_stage(made.id, 1, StageName.BUILD, StageState.PASSED, None)
    store.start_stage(made.id, 1, StageName.BOOT)
    store.finish_stage(made.id, 1, StageName.BOOT, StageState.FAILED, "a kernel panic")
    store.finish_run(made.id, 1, RunState.FAILED, "boot: a kernel panic")
    said = [line.split()[:3] for line in shell("follow", made.id)[1].splitlines()]
    assert said[:2] == [["web", "build", "passed"], ["web", "boot", "failed"]]
    assert len(said) == 3


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["good", "no-op"], 0), (["good", "held"], 6), (["held", "failed"], 1), (["failed", "rolled-back"], 3),
        (["rolled-back", "error"], 5), (["rollback-failed", "error"], 4), (["good", "failed", "superseded"], 1),
    ],
)  # fmt: skip
def test_of_several_runs_the_worst_counts(shell: Shell, store: Store, states: list[str], code: int) -> None:
    names = [f"h{number}" for number in range(len(states))]
    push(store, runs=names)
    for made, state in zip(store.runs(push="00aa11bb22cc"), states, strict=True):
        store.finish_run(made.id, 1, RunState(state), "so")
    assert shell("follow", "00aa11bb22cc")[0] == code
    ended, out, _ = shell("follow", "00aa11bb22cc", "--json")
    assert ended == code
    assert len(json.loads(out)["runs"]) == len(states)


def test_following_a_push_that_makes_no_run(shell: Shell, store: Store) -> None:
    push(store)
    code, out, _ = shell("follow", "00aa11bb22cc")
    assert code == 0
    assert "nothing to do" in out
    push(store, "00aa11bb22cd", "ignored")
    code, out, _ = shell("follow", "00aa11bb22cd")
    assert (code, out.splitlines()[0]) == (0, "so it is")


def test_following_a_push_that_could_not_be_planned(shell: Shell, store: Store) -> None:
    push(store, state="error")
    code, _, err = shell("follow", "00aa11bb22cc")
    assert (code, err) == (1, "toto: push 00aa11bb22cc: so it is\n")
    assert json.loads(shell("follow", "00aa11bb22cc", "--json")[1])["error"] == "so it is"


def test_a_push_that_only_the_spool_knows_is_waited_for(shell: Shell, store: Store) -> None:
    spool = shell.config.folder("spool")
    spool.mkdir()
    (spool / "1001-00aa11bb22cc.push").write_text("toto-push 1\n")
    arriving = threading.Timer(0.5, lambda: push(store))
    arriving.start()
    code, out, _ = shell("follow", "00aa11bb22cc")
    arriving.join()
    assert code == 0
    assert "waits for its plan" in out


def test_ctrl_c_ends_the_following_alone(config: Config, store: Store) -> None:
    """In a process of its own, since a signal is one."""
    from tests.fakes.upping import TOTO, environment

    made = run(store, RunState.WAITING)
    child = subprocess.Popen(
        [str(TOTO), "follow", made.id], env=environment(config.data, TOTO_REDIS=NOWHERE), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    store.update_run(made.id, 1, reason="waits for wave 1")
    assert child.stdout is not None
    assert "waits for wave 1" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert err == f"toto: no longer followed; it goes on all the same; `toto follow {made.id}` looks again\n"
    found = store.run(made.id)
    assert found is not None
    assert found.state is RunState.WAITING


# --- acts


def test_forcing_wants_a_reason(shell: Shell, store: Store) -> None:
    host(store)
    for name in ("again", "unrehearsed", "over-drift", "one-way"):
        code, _, err = shell("rebuild", "web", f"--{name}")
        assert code == 2
        assert err == f'toto: --{name} wants a reason; add -m "…"\n'


def test_hold_and_unhold_by_tag(shell: Shell, store: Store) -> None:
    host(store, tags=["edge"])
    host(store, "db", tags=["edge"])
    host(store, "ns")
    held = shell.json("hold", "@edge", "web", "-m", "a storm")
    assert [(each["host"], each["state"], each["held"]["why"]) for each in held] == [
        ("db", "held", "a storm"),
        ("web", "held", "a storm"),
    ]
    ns = store.host("ns")
    assert ns is not None
    assert ns.held_by is None
    assert [each["state"] for each in shell.json("unhold", "@edge")] == ["new", "new"]
    assert {act.act for act in store.acts()} == {"hold", "unhold"}


def test_a_hold_without_words_is_none(shell: Shell, store: Store) -> None:
    host(store)
    assert shell("hold", "web", "-m", " ")[0] == 2


def test_cancel(shell: Shell, store: Store) -> None:
    made = run(store, RunState.WAITING)
    code, out, _ = shell("cancel", made.id)
    assert code == 0
    assert "cancelled" in out
    assert shell("cancel", made.id)[0] == 2
    again = run(store, RunState.WAITING)
    assert shell("cancel", again.id, "--follow")[0] == 6


def test_rollback_says_what_it_rejects_and_holds_before_and_after(shell: Shell, store: Store) -> None:
    host(store)
    for number in (0, 1, 2):
        release = f"release-{number}" if number else None
        store.put_generation(Generation("web", number, release, COMMIT, None, "good", now()))
    store.set_host("web", generation=2, last_good=2, release="release-2", commit=COMMIT)
    code, out, _ = shell("rollback", "web")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("Return web from generation 2 to generation 1")
    assert "Release release-2 is rejected there, and web is held" in lines[0]
    assert "toto is not running" in out
    assert lines[-1] == "web is held; `toto unhold web` ends it"
    made = store.runs()[0]
    assert (made.cause.value, made.target_generation) == ("rollback", 1)
    assert [stage.name for stage in store.stages(made.id)] == list(ROLLBACK_STAGES)
    assert shell.json("rollback", "web")["id"] == made.id
    assert shell("rollback", "web", "--to", "7")[0] == 2


def test_verify_and_retry(shell: Shell, store: Store) -> None:
    host(store)
    assert shell("verify", "web")[0] == 2
    store.set_host("web", generation=1, commit=COMMIT)
    assert shell.json("verify", "web")["cause"] == "verify"
    good = run(store)
    code, _, err = shell("retry", good.id)
    assert code == 2
    assert f"run {good.id} is good" in err


def test_who_acts_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    assert act.whoami() == "ada"


# --- logs


def test_logs(shell: Shell, store: Store) -> None:
    made = run(store, RunState.RUNNING)
    code, out, err = shell("logs", made.id)
    assert (code, out) == (0, "")
    assert err.startswith(f"no log yet: run {made.id} is ")
    for name, text in ((StageName.BUILD, b"built\n"), (StageName.BOOT, b"up\n")):
        store.start_stage(made.id, 1, name)
        log = LogWriter(log_path(shell.config, made.id, name), 1 << 20)
        log.write(text)
        log.close()
        store.finish_stage(made.id, 1, name, store.stages(made.id)[0].state, None)
    assert shell("logs", made.id, "build")[1] == "built\n"
    out = shell("logs", made.id)[1]
    assert [line.rstrip(" ─") for line in out.splitlines()] == ["── build", "built", "── boot", "up"]
    code, _, err = shell("logs", made.id, "rollback")
    assert code == 2
    assert f"run {made.id} has no stage rollback" in err
    assert "there is no stage nil" in shell("logs", made.id, "nil")[2]


# --- what sets up


def test_init_from_answers(shell: Shell, store: Store, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    answers = tmp_path / "answers.toml"
    answers.write_text('user = "ada"\npassword_file = "password"\n')
    code, out, err = shell("init", "--answers", str(answers))
    assert code == 0, err
    assert "administrator ada" in out
    assert store.users() == ["ada"]
    for text, told in (
        ('user = "ada"\npassword = "short"\n', "8 characters or more"),
        ('password = "long enough"\n', "wants a name"),
        ('user = "ada"\npasswort = "long enough"\n', 'unknown key "passwort"'),
        ('user = "ada"\npassword_file = "nil"\n', "cannot be read"),
        ("user = ", "cannot be read"),
    ):
        answers.write_text(text)
        code, _, err = shell("init", "--answers", str(answers))
        assert code == 2
        assert told in err
        assert "long enough" not in err


def test_reconcile_without_redis_says_so(shell: Shell) -> None:
    code, _, err = shell("reconcile")
    assert code == 5
    assert "Redis does not answer" in err
