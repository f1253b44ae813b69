"""Connections, and the small moves that all of the store's halves share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from server.core.config import Config
from server.core.database import engine_for, migrate
from server.core.errors import StoreTrouble


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class StoreBase:
    """One process's way to the database. Make it after a fork.

    Raises:
        StoreTrouble: From every method, where the database cannot be read or written.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._writing: Engine = engine_for(config.database_url)
        migrate(self._writing)
        self._reading: Engine = engine_for(config.database_url, reading=True)

    def close(self) -> None:
        """Give the connections back."""
        self._writing.dispose()
        self._reading.dispose()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; committed at the block's end, rolled back on an exception."""
        try:
            with self._writing.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreTrouble(
                f"the database could not be written: {error}", mend="see that its disk has room"
            ) from error

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; never waits for a writer."""
        try:
            with self._reading.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreTrouble(f"the database could not be read: {error}") from error

    def rows(self, statement: Any) -> list[dict[str, Any]]:
        """All rows of a query, as dictionaries."""
        with self.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def row(self, statement: Any) -> dict[str, Any] | None:
        """The first row of a query, or None."""
        with self.read() as connection:
            found = connection.execute(statement).mappings().first()
            return dict(found) if found else None
