"""Values as JSON, the same for `--json` and the API: times RFC 3339 in UTC, ids strings, the unknown null."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from server.core.model import Act, CheckRow, Counts, Generation, Host, PlanRow, Push, Repo, Run, Stage

Json = dict[str, Any]


def time_json(time: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, to the millisecond: `2026-11-03T14:05:09.120Z`."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counts_json(counts: Counts) -> Json:
    """Counts of a stage's top-level checks."""
    return {"passed": counts.passed, "failed": counts.failed, "skipped": counts.skipped, "todo": counts.todo}


def stage_json(stage: Stage) -> Json:
    """One stage of a run, with the counts of its checks."""
    return {
        "name": stage.name.value,
        "state": stage.state.value,
        "started": time_json(stage.started),
        "finished": time_json(stage.finished),
        "reason": stage.reason,
        "checks": counts_json(stage.counts),
    }


def check_json(check: CheckRow) -> Json:
    """One TAP test point."""
    return {
        "stage": check.stage.value,
        "file": check.file,
        "number": check.number,
        "ok": check.ok,
        "description": check.description,
        "directive": check.directive,
        "reason": check.reason,
        "diagnostics": check.diagnostics,
        "depth": check.depth,
    }


def run_json(run: Run, stages: Sequence[Stage] | None = None) -> Json:
    """A run; with its `stages` where they are given."""
    said: Json = {
        "id": run.id,
        "repo": run.repo,
        "host": run.host,
        "commit": run.commit,
        "ref": run.ref,
        "cause": run.cause.value,
        "action": run.action.value,
        "state": run.state.value,
        "reason": run.reason,
        "created": time_json(run.created),
        "started": time_json(run.started),
        "finished": time_json(run.finished),
        "push": run.push,
        "identity": run.identity,
        "release": run.release,
        "generation": run.generation,
        "target_generation": run.target_generation,
        "attempt": run.attempt,
        "wave": run.wave,
        "actor": run.actor,
        "why": run.why,
        "forces": [force.value for force in run.forces],
    }
    if stages is not None:
        said["stages"] = [stage_json(stage) for stage in stages]
    return said


def host_json(host: Host) -> Json:
    """A host; `generation` and `last_good` are generation numbers."""
    return {
        "host": host.name,
        "repo": host.repo,
        "backend": host.backend.value,
        "state": host.state.value,
        "reason": host.reason,
        "commit": host.commit,
        "generation": host.generation,
        "last_good": host.last_good,
        "release": host.release,
        "identity": host.identity,
        "wanted": host.wanted,
        "held": {"by": host.held_by, "why": host.held_why} if host.held_by else None,
        "address": host.address,
        "tags": list(host.tags),
        "seen": time_json(host.seen),
    }


def generation_json(generation: Generation) -> Json:
    """A generation of a host."""
    return {
        "host": generation.host,
        "number": generation.number,
        "state": generation.state,
        "release": generation.release,
        "commit": generation.commit,
        "run": generation.run,
        "activated": time_json(generation.activated),
        "reason": generation.reason,
    }


def plan_json(commit: str, rows: Iterable[PlanRow]) -> Json:
    """A plan; `changed` speaks of the identity alone, `run` is null where the plan made none."""
    return {
        "commit": commit,
        "hosts": [
            {
                "host": row.host,
                "changed": row.changed,
                "action": row.action.value,
                "reason": row.reason,
                "identity": row.identity,
                "tests": row.tests,
                "run": row.run,
            }
            for row in rows
        ],
    }


def push_json(push: Push, plan_rows: Sequence[PlanRow] | None = None, runs: Sequence[Run] | None = None) -> Json:
    """A push; with its `plan` (null while it waits for one) and its `runs` where they are given."""
    said: Json = {
        "id": push.id,
        "repo": push.repo,
        "ref": push.ref,
        "old": push.old,
        "new": push.new,
        "pusher": push.pusher,
        "received": time_json(push.received),
        "options": list(push.options),
        "state": push.state,
        "reason": push.reason,
        "subject": push.subject,
    }
    if plan_rows is not None:
        said["plan"] = None if push.state == "received" else plan_json(push.new, plan_rows)
    if runs is not None:
        said["runs"] = [run_json(run) for run in runs]
    return said


def repo_json(repo: Repo) -> Json:
    """A repository that toto hosts."""
    return {"name": repo.name, "path": repo.path, "branch": repo.branch, "created": time_json(repo.created)}


def act_json(act: Act) -> Json:
    """One line of the audit log."""
    return {
        "time": time_json(act.time),
        "actor": act.actor,
        "act": act.act,
        "subject": act.subject,
        "reason": act.reason,
        "detail": act.detail,
    }
