"""Repositories, pushes and their plans, people, and the audit log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from server.core import tables as t
from server.core.model import Act, PlanRow, Push, Repo
from server.core.states import Action
from server.core.store_base import StoreBase, now


def push_from(row: dict[str, Any]) -> Push:
    """A push as a value."""
    return Push(**{**{key: row[key] for key in row if key != "seq"}, "options": tuple(row["options"] or ())})


def plan_row_from(row: dict[str, Any]) -> PlanRow:
    """A plan row as a value."""
    return PlanRow(
        host=row["host"],
        changed=row["changed"],
        action=Action(row["action"]),
        reason=row["reason"],
        identity=row["identity"],
        tests=row["tests"],
        run=str(row["run"]) if row["run"] is not None else None,
    )


class PushStore(StoreBase):
    """Repositories, pushes, plans, people, audit."""

    def add_repo(self, name: str, path: str, branch: str) -> Repo:
        """Enter a repository, or change its path and deployed branch."""
        with self.write() as connection:
            known = connection.execute(select(t.repos.c.name).where(t.repos.c.name == name)).first()
            if known:
                connection.execute(update(t.repos).where(t.repos.c.name == name).values(path=path, branch=branch))
            else:
                connection.execute(insert(t.repos).values(name=name, path=path, branch=branch, created=now()))
        found = self.repo(name)
        assert found is not None  # noqa: S101 - just written
        return found

    def repo(self, name: str) -> Repo | None:
        """A repository by name."""
        row = self.row(select(t.repos).where(t.repos.c.name == name))
        return Repo(**row) if row else None

    def repos(self) -> list[Repo]:
        """All repositories, by name."""
        return [Repo(**row) for row in self.rows(select(t.repos).order_by(t.repos.c.name))]

    def add_push(self, push: Push) -> bool:
        """Record a push once; False where it is known already."""
        values = {key: getattr(push, key) for key in push.__dataclass_fields__}
        try:
            with self._writing.begin() as connection:
                connection.execute(insert(t.pushes).values({**values, "options": list(push.options)}))
        except IntegrityError:
            return False
        return True

    def push(self, push_id: str) -> Push | None:
        """A push by its id."""
        row = self.row(select(t.pushes).where(t.pushes.c.id == push_id))
        return push_from(row) if row else None

    def pushes(self, limit: int = 50, before: str | None = None, repo: str | None = None) -> list[Push]:
        """The newest pushes first; `before` is the id of the last one already seen."""
        query = select(t.pushes).order_by(t.pushes.c.seq.desc()).limit(limit)
        if before is not None:
            seq = select(t.pushes.c.seq).where(t.pushes.c.id == before).scalar_subquery()
            query = query.where(t.pushes.c.seq < seq)
        if repo is not None:
            query = query.where(t.pushes.c.repo == repo)
        return [push_from(row) for row in self.rows(query)]

    def unplanned_pushes(self) -> list[Push]:
        """Pushes that wait for their plan, oldest first."""
        query = select(t.pushes).where(t.pushes.c.state == "received").order_by(t.pushes.c.seq)
        return [push_from(row) for row in self.rows(query)]

    def last_push(self, repo: str, ref: str) -> Push | None:
        """The newest push known for a ref."""
        query = select(t.pushes).where(t.pushes.c.repo == repo, t.pushes.c.ref == ref)
        row = self.row(query.order_by(t.pushes.c.seq.desc()).limit(1))
        return push_from(row) if row else None

    def set_push(self, push_id: str, **values: Any) -> None:
        """Change fields of a push."""
        with self.write() as connection:
            connection.execute(update(t.pushes).where(t.pushes.c.id == push_id).values(**values))

    def plan(self, push_id: str) -> list[PlanRow]:
        """A push's plan, by host."""
        query = select(t.plan_rows).where(t.plan_rows.c.push == push_id).order_by(t.plan_rows.c.host)
        return [plan_row_from(row) for row in self.rows(query)]

    def add_act(self, actor: str, act: str, subject: str, reason: str | None = None, **detail: Any) -> None:
        """Write one line of the audit log."""
        with self.write() as connection:
            values = {"time": now(), "actor": actor, "act": act, "subject": subject, "reason": reason, "detail": detail}
            connection.execute(insert(t.audit).values(values))

    def acts(self, limit: int = 100, subject: str | None = None) -> list[Act]:
        """The newest acts first."""
        query = select(t.audit).order_by(t.audit.c.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(t.audit.c.subject == subject)
        return [Act(**{key: row[key] for key in row if key != "id"}) for row in self.rows(query)]

    def set_user(self, name: str, password: str, role: str) -> None:
        """Enter a person, or change their password hash and role."""
        with self.write() as connection:
            found = connection.execute(select(t.users.c.name).where(t.users.c.name == name)).first()
            if found:
                connection.execute(update(t.users).where(t.users.c.name == name).values(password=password, role=role))
            else:
                connection.execute(insert(t.users).values(name=name, password=password, role=role, created=now()))

    def user(self, name: str) -> dict[str, Any] | None:
        """A person: name, password hash, role."""
        return self.row(select(t.users).where(t.users.c.name == name))

    def users(self) -> list[str]:
        """Names of all people."""
        return [row["name"] for row in self.rows(select(t.users.c.name).order_by(t.users.c.name))]
