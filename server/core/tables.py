"""The database's tables. `store` is the only reader and writer; `migrations/` brings an older database up to these."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class Utc(TypeDecorator[datetime]):
    """A moment, always in UTC, whatever the database makes of time zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: without a zone, in UTC."""
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: in UTC."""
        return value.replace(tzinfo=UTC) if value is not None else None


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

repos = Table(
    "repos",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("path", Text, nullable=False),
    Column("branch", String(255), nullable=False),
    Column("created", Utc, nullable=False),
)

pushes = Table(
    "pushes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("repo", String(64), nullable=False),
    Column("ref", Text, nullable=False),
    Column("old", String(40), nullable=False),
    Column("new", String(40), nullable=False),
    Column("pusher", Text, nullable=False),
    Column("received", Utc, nullable=False),
    Column("options", JSON, nullable=False, default=list),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("subject", Text, nullable=False, default=""),
    Index(None, "repo", "ref", "seq"),
)

plan_rows = Table(
    "plan_rows",
    metadata,
    Column("push", String(40), ForeignKey("pushes.id"), primary_key=True),
    Column("host", String(64), primary_key=True),
    Column("changed", Boolean, nullable=False),
    Column("action", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("identity", String(255)),
    Column("tests", String(64)),
    Column("run", Integer),
)

hosts = Table(
    "hosts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("repo", String(64), nullable=False),
    Column("backend", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("commit", String(40)),
    Column("generation", Integer),
    Column("last_good", Integer),
    Column("identity", String(255)),
    Column("tests", String(64)),
    Column("release", String(64)),
    Column("held_by", Text),
    Column("held_why", Text),
    Column("wanted", String(255)),
    Column("host_key", Text),
    Column("seen", Utc),
    Column("reason", Text),
    Column("tags", JSON, nullable=False, default=list),
    Column("address", Text, nullable=False, default=""),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("repo", String(64), nullable=False),
    Column("host", String(64), nullable=False),
    Column("commit", String(40), nullable=False),
    Column("cause", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", Utc, nullable=False),
    Column("started", Utc),
    Column("finished", Utc),
    Column("reason", Text),
    Column("push", String(40)),
    Column("action", String(16), nullable=False),
    Column("identity", String(255)),
    Column("tests", String(64)),
    Column("release", String(64)),
    Column("generation", Integer),
    Column("phase", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=1),
    Column("wave", Integer, nullable=False, default=1),
    Column("actor", Text),
    Column("why", Text),
    Column("forces", JSON, nullable=False, default=list),
    Column("target_generation", Integer),
    Column("cancel", Boolean, nullable=False, default=False),
    Column("ref", Text),
    Index(None, "host", "id"),
    Index(None, "state", "id"),
    Index(None, "push"),
)

stages = Table(
    "stages",
    metadata,
    Column("run", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("name", String(20), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("started", Utc),
    Column("finished", Utc),
    Column("reason", Text),
    Column("passed", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("skipped", Integer, nullable=False, default=0),
    Column("todo", Integer, nullable=False, default=0),
)

checks = Table(
    "checks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", Integer, ForeignKey("runs.id"), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("file", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("description", Text, nullable=False),
    Column("directive", String(8)),
    Column("reason", Text),
    Column("diagnostics", Text),
    Column("depth", Integer, nullable=False, default=0),
    Index(None, "run", "stage", "id"),
)

locks = Table(
    "locks",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("host", String(64), nullable=False),
    Column("identity", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Utc, nullable=False),
    Index(None, "host", "identity", "seq"),
)

releases = Table(
    "releases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(64), nullable=False),
    Column("backend", String(16), nullable=False),
    Column("identity", String(255), nullable=False),
    Column("lock", String(64), nullable=False),
    Column("commit", String(40), nullable=False),
    Column("created", Utc, nullable=False),
)

rejections = Table(
    "rejections",
    metadata,
    Column("host", String(64), primary_key=True),
    Column("release", String(64), primary_key=True),
    Column("identity", String(255), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("time", Utc, nullable=False),
)

generations = Table(
    "generations",
    metadata,
    Column("host", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("release", String(64)),
    Column("commit", String(40)),
    Column("run", Integer),
    Column("state", String(16), nullable=False),
    Column("activated", Utc, nullable=False),
    Column("tests", String(64)),
    Column("reason", Text),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", Utc, nullable=False),
    Column("actor", Text, nullable=False),
    Column("act", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text),
    Column("detail", JSON, nullable=False, default=dict),
)

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("created", Utc, nullable=False),
)
