"""Reading for the pages: many rows in one look, so that a fleet of 300 hosts costs a few queries and not 600."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select

from server.core import tables as t
from server.core.model import CheckRow, PlanRow, Push, Run, Stage
from server.core.states import StageName
from server.core.store_base import StoreBase
from server.core.store_pushes import plan_row_from, push_from
from server.core.store_runs import check_from, run_from, stage_from

ORDER = {name: place for place, name in enumerate(StageName)}


class ViewStore(StoreBase):
    """What several tables say together."""

    def latest_runs(self) -> dict[str, Run]:
        """Each host's newest run, by the host's name."""
        newest = select(func.max(t.runs.c.id)).where(t.runs.c.host == t.hosts.c.name).scalar_subquery()
        ids = [row["id"] for row in self.rows(select(newest.label("id")).select_from(t.hosts)) if row["id"]]
        return {run.host: run for run in self._runs_by_id(ids)}

    def _runs_by_id(self, ids: Sequence[int]) -> list[Run]:
        return [run_from(row) for row in self.rows(select(t.runs).where(t.runs.c.id.in_(ids)))]

    def stages_of(self, run_ids: Iterable[str]) -> dict[str, list[Stage]]:
        """The stages of several runs, in their order, by the run's id."""
        found: dict[str, list[Stage]] = {run_id: [] for run_id in run_ids}
        query = select(t.stages).where(t.stages.c.run.in_([int(run_id) for run_id in found]))
        for row in self.rows(query):
            found[str(row["run"])].append(stage_from(row))
        for stages in found.values():
            stages.sort(key=lambda stage: ORDER[stage.name])
        return found

    def checks_shown(
        self, run_id: str, stage: StageName, most: int
    ) -> tuple[list[CheckRow], dict[str, tuple[int, int]]]:
        """A stage's checks as far as a page can show them: the first `most`, and the first `most` that failed, in the
        order they came; and for each file how many top-level ones passed and failed in all.
        """
        this = (t.checks.c.run == int(run_id), t.checks.c.stage == stage.value)
        first = select(t.checks).where(*this).order_by(t.checks.c.id).limit(most)
        failed = select(t.checks).where(*this, t.checks.c.ok.is_(False)).order_by(t.checks.c.id).limit(most)
        found = {row["id"]: row for query in (first, failed) for row in self.rows(query)}
        count = select(t.checks.c.file, t.checks.c.ok, func.count().label("number")).where(*this, t.checks.c.depth == 0)
        totals: dict[str, tuple[int, int]] = {}
        for row in self.rows(count.group_by(t.checks.c.file, t.checks.c.ok)):
            passed, bad = totals.get(row["file"], (0, 0))
            number = row["number"]
            totals[row["file"]] = (passed + number, bad) if row["ok"] else (passed, bad + number)
        return [check_from(found[key]) for key in sorted(found)], totals

    def subjects(self, commits: Iterable[str | None]) -> dict[str, str]:
        """The first lines of commits' messages, as far as pushes brought them."""
        wanted = {commit for commit in commits if commit}
        query = select(t.pushes.c.new, t.pushes.c.subject).where(t.pushes.c.new.in_(wanted))
        return {row["new"]: row["subject"] for row in self.rows(query)}

    def pushes_by_id(self, push_ids: Iterable[str | None]) -> list[Push]:
        """Several pushes, in no order."""
        wanted = {push_id for push_id in push_ids if push_id}
        return [push_from(row) for row in self.rows(select(t.pushes).where(t.pushes.c.id.in_(wanted)))]

    def plans(self, push_ids: Iterable[str]) -> dict[str, list[PlanRow]]:
        """The plans of several pushes, by the push's id."""
        found: dict[str, list[PlanRow]] = {push_id: [] for push_id in push_ids}
        query = select(t.plan_rows).where(t.plan_rows.c.push.in_(list(found))).order_by(t.plan_rows.c.host)
        for row in self.rows(query):
            found[row["push"]].append(plan_row_from(row))
        return found

    def runs_of(self, push_ids: Iterable[str]) -> dict[str, list[Run]]:
        """The runs that several pushes caused, oldest first, by the push's id."""
        found: dict[str, list[Run]] = {push_id: [] for push_id in push_ids}
        query = select(t.runs).where(t.runs.c.push.in_(list(found))).order_by(t.runs.c.id)
        for row in self.rows(query):
            found[row["push"]].append(run_from(row))
        return found
