"""The store: the only reader and writer of the database. Its halves lie in `store_*`."""

from __future__ import annotations

from server.core.store_hosts import HostStore
from server.core.store_pushes import PushStore
from server.core.store_runs import RunStore
from server.core.store_views import ViewStore


class Store(PushStore, HostStore, RunStore, ViewStore):
    """One process's way to the database: repositories, pushes, plans, hosts, releases, runs, people, audit."""
