"""The engine, its pragmas, and bringing the schema up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from server.core.errors import StoreTrouble
from server.core.tables import metadata

MIGRATIONS = Path(__file__).with_name("migrations")
HEAD = "0001"
"""The newest schema: the number of the last file in `migrations/versions`."""

BUSY_SECONDS = 30


def engine_for(url: str, *, reading: bool = False) -> Engine:
    """An engine for `url`; make it after a fork, never before.

    SQLite runs in WAL mode; an engine that writes says `BEGIN IMMEDIATE`: with deferred transactions six writers that
    read first failed most of the time, with immediate ones never. One that only reads never waits for a writer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        _make_file(Path(parsed.database))
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _on_connect)
    begin = "BEGIN" if reading else "BEGIN IMMEDIATE"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _make_file(path: Path) -> None:
    """The database's file, writable by the group: builders and deployers are two users of one group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o660))
        path.chmod(0o660)


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # pysqlite's own BEGIN is switched off; ours is immediate
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def migrate(engine: Engine) -> None:
    """Bring the schema to `HEAD`: at once where the database is empty, by Alembic where it is older.

    Raises:
        StoreTrouble: The database is newer than this toto, or cannot be read.
    """
    try:
        with engine.begin() as connection:
            found = _revision(connection)
            if found == HEAD:
                return
            if found is not None and found > HEAD:
                raise StoreTrouble(
                    f"the database has schema {found}, newer than this toto's {HEAD}",
                    mend="run the newer toto, or restore a backup of the older one",
                )
            if found is None:
                metadata.create_all(connection)
                _stamp(connection)
            else:
                _upgrade(connection)
    except SQLAlchemyError as error:
        raise StoreTrouble(f"the database cannot be opened: {error}", where=engine.url.render_as_string()) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _stamp(connection: Connection) -> None:
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD}')")  # noqa: S608 - a constant


def _upgrade(connection: Connection) -> None:
    from alembic import command  # imported late: it costs 0.2 s, and only an upgrade needs it
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
