"""The store: the only reader and writer of the database. Its halves lie in `store_pushes`, `store_hosts`, `store_runs`."""

from __future__ import annotations

from server.core.store_hosts import HostStore
from server.core.store_pushes import PushStore
from server.core.store_runs import RunStore


class Store(PushStore, HostStore, RunStore):
    """One process's way to the database: repositories, pushes, plans, hosts, releases, runs, people, audit."""
