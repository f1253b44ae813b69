"""What a person may do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from server.core import acts, repos
from server.core.acts import Context
from server.core.config import Config
from server.core.errors import Refused, UsageFault
from server.core.model import Generation, Run
from server.core.queue import Queue
from server.core.states import Action, Backend, Cause, Force, HostState, RunState, StageName
from server.core.store import Store
from server.core.store_base import now

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet"


@pytest.fixture
def ctx(config: Config, store: Store, tmp_path: Path) -> Context:
    """The example fleet in a repository, its host `web` at generation 2, with nothing running."""
    checkout = tmp_path / "checkout"
    shutil.copytree(EXAMPLE, checkout)
    path = repos.create(config, "fleet", "main")
    author = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*author, "commit", "-qm", "one"],
        ["push", "-q", str(path), "main"],
    ):
        subprocess.run(["git", *author, "-C", str(checkout), *words], check=True, capture_output=True)
    store.add_repo("fleet", str(path), "main")
    made = Context(config, store, Queue(config), "ada")
    store.put_host("web", "fleet", Backend.DEBIAN)
    for number, state in ((0, "good"), (1, "good"), (2, "good")):
        release = f"r{number}" if number else None
        store.put_generation(Generation("web", number, release, "1" * 40 if number else None, None, state, now()))
    identity = acts.wanted_at(made, acts.the_host(made, "web"), None).identity
    store.set_host(
        "web", generation=2, last_good=2, release="r2", identity=identity, wanted=identity, commit="1" * 40,
        state=HostState.CURRENT.value,
    )  # fmt: skip
    return made


def audit(ctx: Context) -> list[tuple[str, str, str]]:
    return [(act.actor, act.act, act.subject) for act in ctx.store.acts()]


def test_rebuild_makes_one_run_however_often_it_is_pressed(ctx: Context) -> None:
    first, second = acts.rebuild(ctx, "web"), acts.rebuild(ctx, "web")
    assert first.id == second.id
    assert (first.cause, first.phase, first.actor) == (Cause.REBUILD, "build", "ada")
    assert audit(ctx) == [("ada", "rebuild", "web")]


def test_the_sentence_tells_that_an_unchanged_host_gets_tests_only(ctx: Context) -> None:
    said = acts.rebuild_sentence(ctx, "web")
    assert "install nothing, because generation 2 runs it already" in said
    ctx.store.set_host("web", identity="x" * 64)
    assert "activate it on web as a new generation" in acts.rebuild_sentence(ctx, "web")
    assert "returns to generation 2" in acts.rebuild_sentence(ctx, "web")


def test_a_held_host_is_rebuilt_and_not_activated(ctx: Context) -> None:
    acts.hold(ctx, "web", "queue migration")
    assert "activate nothing: web is held by ada (queue migration)" in acts.rebuild_sentence(ctx, "web")
    assert acts.rebuild(ctx, "web").action is Action.HELD


def test_forcing_wants_a_reason(ctx: Context) -> None:
    with pytest.raises(UsageFault, match="wants a reason"):
        acts.rebuild(ctx, "web", forces=(Force.AGAIN,))


def test_a_rejected_release_wants_again(ctx: Context) -> None:
    wanted = acts.wanted_at(ctx, acts.the_host(ctx, "web"), None).identity
    ctx.store.set_host("web", identity="x" * 64)
    ctx.store.reject("web", "r9", wanted or "", "eve", "it loses mail")
    with pytest.raises(Refused, match=r"rejected by eve: it loses mail.*--again"):
        acts.rebuild(ctx, "web")
    assert acts.rebuild(ctx, "web", forces=(Force.AGAIN,), why="fixed the disk").forces == (Force.AGAIN,)


def test_rollback_goes_to_the_newest_good_one_before_the_running_one_and_holds(ctx: Context) -> None:
    said = acts.rollback_sentence(ctx, "web")
    assert "from generation 2 to generation 1" in said
    assert "Release r2 is rejected there, and web is held" in said
    run = acts.rollback(ctx, "web", why="users complain")
    assert (run.target_generation, run.release, run.phase) == (1, "r1", "deploy")
    assert [stage.name for stage in ctx.store.stages(run.id)] == [StageName.ROLLBACK, StageName.ROLLBACK_CHECK]
    host = acts.the_host(ctx, "web")
    assert (host.held_by, host.held_why, host.state) == ("ada", "users complain", HostState.HELD)
    assert acts.rollback(ctx, "web").id == run.id


def test_rollback_skips_bad_generations_and_refuses_impossible_ones(ctx: Context) -> None:
    ctx.store.put_generation(Generation("web", 1, "r1", "1" * 40, None, "bad", now()))
    assert acts.rollback_goal(ctx, acts.the_host(ctx, "web"), None).number == 0
    for to, told in ((2, "runs generation 2 already"), (7, "no generation 7"), (1, "was never good")):
        with pytest.raises(UsageFault, match=told):
            acts.rollback(ctx, "web", to=to)


def test_a_host_without_a_generation_cannot_be_rolled_back_or_verified(ctx: Context) -> None:
    ctx.store.put_host("db", "fleet", Backend.DEBIAN)
    for act in (acts.rollback, acts.verify):
        with pytest.raises(UsageFault, match="nothing that toto put there"):
            act(ctx, "db")


def test_hold_and_unhold(ctx: Context) -> None:
    with pytest.raises(UsageFault, match="wants a reason"):
        acts.hold(ctx, "web", " ")
    assert acts.hold(ctx, "web", "queue migration").state is HostState.HELD
    assert acts.unhold(ctx, "web").state is HostState.CURRENT
    with pytest.raises(UsageFault, match="is not held"):
        acts.unhold(ctx, "web")
    acts.hold(ctx, "web", "again")
    ctx.store.set_host("web", wanted="something newer")
    assert acts.unhold(ctx, "web").state is HostState.BEHIND
    assert audit(ctx)[0] == ("ada", "unhold", "web")


def test_unknown_names_are_told(ctx: Context) -> None:
    with pytest.raises(UsageFault, match="knows no host wbe; known: web"):
        acts.rebuild(ctx, "wbe")
    with pytest.raises(UsageFault, match="no such ref"):
        acts.rebuild(ctx, "web", ref="no-such-branch")
    with pytest.raises(UsageFault, match="there is no run 99"):
        acts.cancel(ctx, "99")


def ended(ctx: Context, state: RunState) -> Run:
    run = acts.rebuild(ctx, "web")
    ctx.store.finish_run(run.id, 1, state, "because")
    return run


def test_retry_follows_failed_and_error_only(ctx: Context) -> None:
    with pytest.raises(UsageFault, match="only `failed` and `error`"):
        acts.retry(ctx, ended(ctx, RunState.GOOD).id)
    again = acts.retry(ctx, ended(ctx, RunState.FAILED).id)
    assert again.cause is Cause.RETRY


def test_cancel_of_what_has_ended_is_told(ctx: Context) -> None:
    run = ended(ctx, RunState.GOOD)
    with pytest.raises(UsageFault, match="has ended: it is good"):
        acts.cancel(ctx, run.id)
