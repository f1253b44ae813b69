"""Runs, their stages and checks. Every write of a run's worker names its attempt: an older attempt changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from server.core import tables as t
from server.core.model import CheckRow, Counts, PlanRow, Run, Stage
from server.core.states import Action, Cause, Force, RunState, StageName, StageState
from server.core.store_base import StoreBase, now

OPEN = (RunState.WAITING.value, RunState.RUNNING.value, RunState.UNKNOWN.value)


def run_from(row: dict[str, Any]) -> Run:
    """A run as a value."""
    typed = {
        "id": str(row["id"]),
        "cause": Cause(row["cause"]),
        "state": RunState(row["state"]),
        "action": Action(row["action"]),
        "forces": tuple(Force(force) for force in row["forces"] or ()),
    }
    return Run(**{**row, **typed})


def stage_from(row: dict[str, Any]) -> Stage:
    """A stage as a value."""
    return Stage(
        name=StageName(row["name"]),
        state=StageState(row["state"]),
        started=row["started"],
        finished=row["finished"],
        reason=row["reason"],
        counts=Counts(row["passed"], row["failed"], row["skipped"], row["todo"]),
    )


def check_from(row: dict[str, Any]) -> CheckRow:
    """A check as a value."""
    values = {key: row[key] for key in CheckRow.__dataclass_fields__}
    return CheckRow(**{**values, "stage": StageName(row["stage"])})


class RunStore(StoreBase):
    """Runs, stages, checks."""

    def add_run(self, stages: Sequence[StageName], **values: Any) -> Run:
        """A new waiting run with its stages; fields of `Run` by name."""
        with self.write() as connection:
            run_id = self._insert_run(connection, stages, values)
        found = self.run(str(run_id))
        assert found is not None  # noqa: S101 - just written
        return found

    def _insert_run(self, connection: Any, stages: Sequence[StageName], values: dict[str, Any]) -> int:
        made = {"state": RunState.WAITING.value, "created": now(), "attempt": 1, "forces": [], "cancel": False}
        made |= {"phase": "build", "wave": 1, "action": Action.DEPLOY.value, **values}
        run_id = int(connection.execute(insert(t.runs).values(made)).inserted_primary_key[0])
        rows = [{"run": run_id, "name": name.value, "attempt": 1, "state": "waiting"} for name in stages]
        if rows:
            connection.execute(insert(t.stages), rows)
        return run_id

    def save_plan(
        self, push_id: str, rows: Iterable[tuple[PlanRow, dict[str, Any] | None, Sequence[StageName]]]
    ) -> bool:
        """Keep a push's plan and make its runs, all or nothing, once.

        Each row comes with its run's fields (None where nothing is to do) and that run's stages. Older waiting runs
        of the same host and ref are superseded. Returns False where the push was planned already.
        """
        with self.write() as connection:
            push = connection.execute(select(t.pushes).where(t.pushes.c.id == push_id)).mappings().first()
            if push is None or push["state"] != "received":
                return False
            for row, fields, stages in rows:
                run_id = None
                if fields is not None:
                    run_id = self._insert_run(connection, stages, {**fields, "push": push_id})
                    self._supersede(connection, row.host, push["ref"], f"superseded by run {run_id}", before=run_id)
                elif not row.changed:
                    self._supersede(connection, row.host, push["ref"], f"superseded by push {push_id}")
                connection.execute(
                    insert(t.plan_rows).values(
                        push=push_id,
                        host=row.host,
                        changed=row.changed,
                        action=row.action.value,
                        reason=row.reason,
                        identity=row.identity,
                        tests=row.tests,
                        run=run_id,
                    )
                )
            connection.execute(update(t.pushes).where(t.pushes.c.id == push_id).values(state="planned"))
        return True

    def _supersede(self, connection: Any, host: str, ref: str, reason: str, before: int | None = None) -> None:
        """End a host's older waiting runs of the same ref; what a person asked for keeps its place."""
        older = [
            t.runs.c.host == host,
            t.runs.c.ref == ref,
            t.runs.c.state == RunState.WAITING.value,
            t.runs.c.cause == Cause.PUSH.value,
        ]
        if before is not None:
            older.append(t.runs.c.id < before)
        ids = list(connection.execute(select(t.runs.c.id).where(*older)).scalars())
        connection.execute(
            update(t.runs)
            .where(t.runs.c.id.in_(ids))
            .values(state=RunState.SUPERSEDED.value, phase="done", finished=now(), reason=reason)
        )
        self._skip_stages(connection, ids, reason)

    def _skip_stages(self, connection: Any, ids: Sequence[int], reason: str) -> None:
        waiting = (t.stages.c.run.in_(ids), t.stages.c.state == StageState.WAITING.value)
        connection.execute(update(t.stages).where(*waiting).values(state=StageState.SKIPPED.value, reason=reason))

    def run(self, run_id: str) -> Run | None:
        """A run by its id."""
        if not run_id.isdecimal() or len(run_id) > 18:  # SQL's integers end before 19 digits do
            return None
        row = self.row(select(t.runs).where(t.runs.c.id == int(run_id)))
        return run_from(row) if row else None

    def runs(
        self,
        *,
        host: str | None = None,
        state: str | None = None,
        push: str | None = None,
        text: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Run]:
        """The newest runs first, before the id `before`; `text` looks in commits, hosts and reasons."""
        query = select(t.runs).order_by(t.runs.c.id.desc()).limit(limit)
        if host is not None:
            query = query.where(t.runs.c.host == host)
        if state is not None:
            query = query.where(t.runs.c.state == state)
        if push is not None:
            query = query.where(t.runs.c.push == push)
        if text:
            like = f"%{text}%"
            query = query.where(
                t.runs.c.commit.like(f"{text}%") | t.runs.c.reason.like(like) | t.runs.c.host.like(like)
            )
        if before is not None and before.isdecimal() and len(before) <= 18:
            query = query.where(t.runs.c.id < int(before))
        return [run_from(row) for row in self.rows(query)]

    def open_runs(self, host: str | None = None) -> list[Run]:
        """Runs that have not ended, oldest first."""
        query = select(t.runs).where(t.runs.c.state.in_(OPEN)).order_by(t.runs.c.id)
        if host is not None:
            query = query.where(t.runs.c.host == host)
        return [run_from(row) for row in self.rows(query)]

    def claim(self, run_id: str, attempt: int, phase: str) -> bool:
        """Take a waiting run for work: True for exactly one caller of each attempt and phase."""
        this = (t.runs.c.id == int(run_id), t.runs.c.attempt == attempt, t.runs.c.phase == phase)
        with self.write() as connection:
            changed = connection.execute(
                update(t.runs)
                .where(*this, t.runs.c.state == RunState.WAITING.value)
                .values(state=RunState.RUNNING.value, started=func.coalesce(t.runs.c.started, now()), reason=None)
            )
        return changed.rowcount == 1

    def update_run(self, run_id: str, attempt: int, **values: Any) -> bool:
        """Change fields of a run that has not ended, for its current attempt only; False where that is past."""
        this = (t.runs.c.id == int(run_id), t.runs.c.attempt == attempt, t.runs.c.state.in_(OPEN))
        with self.write() as connection:
            return connection.execute(update(t.runs).where(*this).values(**values)).rowcount == 1

    def hand_over(self, run_id: str, attempt: int, phase: str, reason: str) -> bool:
        """The run waits for its next phase."""
        return self.update_run(run_id, attempt, state=RunState.WAITING.value, phase=phase, reason=reason)

    def finish_run(self, run_id: str, attempt: int, state: RunState, reason: str | None, **values: Any) -> bool:
        """End a run; its stages that never began are skipped. False where the attempt is past."""
        values |= {"state": state.value, "phase": "done", "finished": now(), "reason": reason}
        if not self.update_run(run_id, attempt, **values):
            return False
        with self.write() as connection:
            self._skip_stages(connection, [int(run_id)], "")
        return True

    def again(self, run_id: str, attempt: int, reason: str) -> bool:
        """Put back a run whose worker died or whose target fell silent: the next attempt waits."""
        lost = (RunState.RUNNING.value, RunState.UNKNOWN.value)
        this = (t.runs.c.id == int(run_id), t.runs.c.attempt == attempt, t.runs.c.state.in_(lost))
        open_stages = (t.stages.c.run == int(run_id), t.stages.c.state == StageState.RUNNING.value)
        values = {"state": RunState.WAITING.value, "attempt": attempt + 1, "reason": reason}
        with self.write() as connection:
            if not connection.execute(update(t.runs).where(*this).values(values)).rowcount:
                return False
            connection.execute(update(t.stages).where(*open_stages).values(state="waiting", started=None))
        return True

    def request_cancel(self, run_id: str) -> bool:
        """Ask a run to stop; a waiting one ends at once. False where it has ended."""
        run = self.run(run_id)
        if run is None or run.state.final:
            return False
        this = (t.runs.c.id == int(run_id), t.runs.c.state == RunState.WAITING.value)
        with self.write() as connection:
            connection.execute(update(t.runs).where(t.runs.c.id == int(run_id)).values(cancel=True))
            ended = connection.execute(
                update(t.runs)
                .where(*this)
                .values(
                    state=RunState.CANCELLED.value, phase="done", finished=now(), reason="cancelled while it waited"
                )
            )
            if ended.rowcount:
                self._skip_stages(connection, [int(run_id)], "cancelled")
        return True

    def cancelled(self, run_id: str) -> bool:
        """Whether somebody asked this run to stop."""
        row = self.row(select(t.runs.c.cancel).where(t.runs.c.id == int(run_id)))
        return bool(row and row["cancel"])

    def stages(self, run_id: str) -> list[Stage]:
        """A run's stages, in their order."""
        rows = self.rows(select(t.stages).where(t.stages.c.run == int(run_id)))
        order = list(StageName)
        return sorted((stage_from(row) for row in rows), key=lambda stage: order.index(stage.name))

    def start_stage(self, run_id: str, attempt: int, name: StageName) -> None:
        """A stage begins: its checks and figures start anew."""
        this = (t.stages.c.run == int(run_id), t.stages.c.name == name.value)
        values = {"attempt": attempt, "state": StageState.RUNNING.value, "started": now(), "finished": None}
        values |= {"reason": None, "passed": 0, "failed": 0, "skipped": 0, "todo": 0}
        with self.write() as connection:
            if not connection.execute(update(t.stages).where(*this).values(values)).rowcount:
                connection.execute(insert(t.stages).values(run=int(run_id), name=name.value, **values))
            connection.execute(delete(t.checks).where(t.checks.c.run == int(run_id), t.checks.c.stage == name.value))

    def finish_stage(self, run_id: str, attempt: int, name: StageName, state: StageState, reason: str | None) -> None:
        """A stage ends."""
        this = (t.stages.c.run == int(run_id), t.stages.c.name == name.value, t.stages.c.attempt == attempt)
        values = {"state": state.value, "finished": now(), "reason": reason}
        with self.write() as connection:
            connection.execute(update(t.stages).where(*this).values(values))

    def note_stage(self, run_id: str, attempt: int, name: StageName, reason: str) -> None:
        """The short text beside a stage's name."""
        this = (t.stages.c.run == int(run_id), t.stages.c.name == name.value, t.stages.c.attempt == attempt)
        with self.write() as connection:
            connection.execute(update(t.stages).where(*this).values(reason=reason))

    def skip_stage(self, run_id: str, attempt: int, name: StageName, reason: str) -> None:
        """A stage that has nothing to do."""
        this = (t.stages.c.run == int(run_id), t.stages.c.name == name.value)
        values = {"state": StageState.SKIPPED.value, "reason": reason, "attempt": attempt}
        with self.write() as connection:
            if not connection.execute(update(t.stages).where(*this).values(values)).rowcount:
                connection.execute(insert(t.stages).values(run=int(run_id), name=name.value, **values))

    def add_checks(self, run_id: str, attempt: int, rows: Sequence[CheckRow]) -> None:
        """Record checks as they arrive, and count the top-level ones."""
        if not rows:
            return
        values = [{"run": int(run_id), **{key: getattr(row, key) for key in row.__dataclass_fields__}} for row in rows]
        for value in values:
            value["stage"] = value["stage"].value
        with self.write() as connection:
            connection.execute(insert(t.checks), values)
            for row in rows:
                if row.depth:
                    continue
                column = {"skip": "skipped", "todo": "todo"}.get(row.directive or "") or (
                    "passed" if row.ok else "failed"
                )
                this = (
                    t.stages.c.run == int(run_id),
                    t.stages.c.name == row.stage.value,
                    t.stages.c.attempt == attempt,
                )
                connection.execute(update(t.stages).where(*this).values({column: t.stages.c[column] + 1}))

    def checks(self, run_id: str, stage: StageName | None = None, *, failed: bool = False) -> list[CheckRow]:
        """A run's checks, in the order they came."""
        query = select(t.checks).where(t.checks.c.run == int(run_id)).order_by(t.checks.c.id)
        if stage is not None:
            query = query.where(t.checks.c.stage == stage.value)
        if failed:
            query = query.where(t.checks.c.ok.is_(False))
        rows = self.rows(query)
        return [check_from(row) for row in rows]

    def last_rehearsal_failure(self, host: str, identity: str, tests: str) -> Run | None:
        """The newest run of this identity with these tests, where it failed in the VM; None where it did not."""
        query = select(t.runs).where(
            t.runs.c.host == host,
            t.runs.c.identity == identity,
            t.runs.c.tests == tests,
            t.runs.c.state.in_([RunState.FAILED.value, RunState.GOOD.value, RunState.REHEARSED.value]),
        )
        row = self.row(query.order_by(t.runs.c.id.desc()).limit(1))
        if row is None or row["state"] != RunState.FAILED.value:
            return None
        return run_from(row)
