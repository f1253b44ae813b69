"""What a web process stands on: store, queue and hub, made when first asked for, so after gunicorn's fork."""

from __future__ import annotations

import threading
from typing import cast

from flask import current_app

from server.core.config import Config
from server.core.queue import Queue
from server.core.store import Store
from server.web.live import Hub

KEY = "toto"


class Services:
    """One process's store, queue and hub."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._queue: Queue | None = None
        self._hub: Hub | None = None

    @property
    def store(self) -> Store:
        """The database."""
        with self._lock:
            if self._store is None:
                self._store = Store(self.config)
            return self._store

    @property
    def queue(self) -> Queue:
        """The queues."""
        with self._lock:
            if self._queue is None:
                self._queue = Queue(self.config)
            return self._queue

    @property
    def hub(self) -> Hub:
        """The one thread that watches for changes."""
        store = self.store
        with self._lock:
            if self._hub is None:
                self._hub = Hub(self.config, store)
            return self._hub

    def close(self) -> None:
        """Give all of it back (tests make many apps in one process)."""
        with self._lock:
            if self._hub is not None:
                self._hub.stop()
            if self._store is not None:
                self._store.close()
            self._hub, self._store, self._queue = None, None, None


def services() -> Services:
    """The services of the app that answers this request."""
    return cast(Services, current_app.extensions[KEY])
