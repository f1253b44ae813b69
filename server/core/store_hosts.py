"""Hosts and what they run: locks, releases, generations, rejections."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, insert, select, update

from server.core import tables as t
from server.core.model import Generation, Host, Release
from server.core.states import Backend, HostState
from server.core.store_base import StoreBase, now


def host_from(row: dict[str, Any]) -> Host:
    """A host as a value."""
    typed = {"backend": Backend(row["backend"]), "state": HostState(row["state"]), "tags": tuple(row["tags"] or ())}
    return Host(**{**row, **typed})


def generation_from(row: dict[str, Any]) -> Generation:
    """A generation as a value."""
    return Generation(**{**row, "run": str(row["run"]) if row["run"] is not None else None})


class HostStore(StoreBase):
    """Hosts, locks, releases, generations, rejections."""

    def host(self, name: str) -> Host | None:
        """A host by name."""
        row = self.row(select(t.hosts).where(t.hosts.c.name == name))
        return host_from(row) if row else None

    def hosts(self) -> list[Host]:
        """All hosts, by name."""
        return [host_from(row) for row in self.rows(select(t.hosts).order_by(t.hosts.c.name))]

    def put_host(self, name: str, repo: str, backend: Backend, **values: Any) -> None:
        """Enter a host as `new`, or change the given fields of a known one."""
        with self.write() as connection:
            if connection.execute(select(t.hosts.c.name).where(t.hosts.c.name == name)).first():
                changes = {"repo": repo, "backend": backend.value, **values}
                connection.execute(update(t.hosts).where(t.hosts.c.name == name).values(changes))
            else:
                first = {"state": HostState.NEW.value, "tags": [], "address": "", **values}
                connection.execute(insert(t.hosts).values(name=name, repo=repo, backend=backend.value, **first))

    def set_host(self, name: str, **values: Any) -> None:
        """Change fields of a host."""
        with self.write() as connection:
            connection.execute(update(t.hosts).where(t.hosts.c.name == name).values(**values))

    def lock(self, host: str, identity: str) -> str | None:
        """The newest lock of an identity of a host, as its JSON form."""
        query = select(t.locks.c.body).where(t.locks.c.host == host, t.locks.c.identity == identity)
        row = self.row(query.order_by(t.locks.c.seq.desc()).limit(1))
        return row["body"] if row else None

    def add_lock(self, host: str, identity: str, digest: str, body: str) -> None:
        """Keep a lock; the newest of an identity is the one in force."""
        with self.write() as connection:
            values = {"host": host, "identity": identity, "digest": digest, "body": body, "created": now()}
            connection.execute(insert(t.locks).values(values))

    def add_release(self, release: Release) -> None:
        """Record a release once."""
        with self.write() as connection:
            if connection.execute(select(t.releases.c.id).where(t.releases.c.id == release.id)).first() is None:
                values = {key: getattr(release, key) for key in release.__dataclass_fields__}
                connection.execute(insert(t.releases).values({**values, "backend": release.backend.value}))

    def release(self, release_id: str) -> Release | None:
        """A release by its id."""
        row = self.row(select(t.releases).where(t.releases.c.id == release_id))
        return Release(**{**row, "backend": Backend(row["backend"])}) if row else None

    def reject(self, host: str, release: str, identity: str, who: str, why: str) -> None:
        """Mark a release as not to be tried on this host again by itself."""
        with self.write() as connection:
            connection.execute(
                delete(t.rejections).where(t.rejections.c.host == host, t.rejections.c.release == release)
            )
            values = {"host": host, "release": release, "identity": identity, "who": who, "why": why, "time": now()}
            connection.execute(insert(t.rejections).values(values))

    def rejected(self, host: str, identity: str) -> dict[str, Any] | None:
        """Who rejected which release of this identity on this host, and why; None where nobody did."""
        query = select(t.rejections).where(t.rejections.c.host == host, t.rejections.c.identity == identity)
        return self.row(query.order_by(t.rejections.c.time.desc()).limit(1))

    def accept(self, host: str, release: str) -> None:
        """Forget that a release was rejected: it has just proved itself."""
        with self.write() as connection:
            connection.execute(
                delete(t.rejections).where(t.rejections.c.host == host, t.rejections.c.release == release)
            )

    def generations(self, host: str) -> list[Generation]:
        """A host's generations, newest first."""
        query = select(t.generations).where(t.generations.c.host == host).order_by(t.generations.c.number.desc())
        return [generation_from(row) for row in self.rows(query)]

    def generation(self, host: str, number: int) -> Generation | None:
        """One generation of a host."""
        row = self.row(select(t.generations).where(t.generations.c.host == host, t.generations.c.number == number))
        return generation_from(row) if row else None

    def next_generation(self, host: str) -> int:
        """The number that the next generation of a host gets: numbers are never used twice."""
        row = self.row(select(func.max(t.generations.c.number).label("last")).where(t.generations.c.host == host))
        last = row["last"] if row else None
        return 1 if last is None else int(last) + 1

    def put_generation(self, generation: Generation) -> None:
        """Record a generation, or change it."""
        values = {key: getattr(generation, key) for key in generation.__dataclass_fields__}
        values["run"] = int(generation.run) if generation.run is not None else None
        this = (t.generations.c.host == generation.host, t.generations.c.number == generation.number)
        with self.write() as connection:
            if connection.execute(select(t.generations.c.number).where(*this)).first():
                connection.execute(update(t.generations).where(*this).values(values))
            else:
                connection.execute(insert(t.generations).values(values))

    def good_before(self, host: str, number: int) -> Generation | None:
        """The newest good generation before `number`; generation 0, the machine as it was found, counts as good."""
        query = select(t.generations).where(
            t.generations.c.host == host, t.generations.c.number < number, t.generations.c.state == "good"
        )
        row = self.row(query.order_by(t.generations.c.number.desc()).limit(1))
        return generation_from(row) if row else None
