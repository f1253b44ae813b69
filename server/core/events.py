"""What changed, told to whoever watches: a Redis stream that carries names and lengths, never content.

Telling is best effort: a Redis that is away costs a viewer a few seconds (pages look at the database, too), never
a run.
"""

from __future__ import annotations

import contextlib
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from server.core.config import Config

STREAM = "toto:events"
LENGTH = 10_000
QUIET_SECONDS = 2.0
"""After a failure, how long nothing is tried, so that a lost Redis slows no stage down."""


class Events:
    """One process's way to tell what changed."""

    def __init__(self, config: Config) -> None:
        self._client = redis.Redis.from_url(config.redis_url, socket_timeout=2, retry=Retry(NoBackoff(), 0))
        self._quiet_until = 0.0

    def tell(self, kind: str, **fields: str | int) -> None:
        """Say that something of `kind` (`run`, `stage`, `check`, `log`, `host`, `push`) changed."""
        if time.monotonic() < self._quiet_until:
            return
        try:
            with contextlib.suppress(UnicodeError):
                self._client.xadd(STREAM, {"kind": kind, **fields}, maxlen=LENGTH, approximate=True)  # type: ignore[dict-item]
        except (redis.RedisError, OSError):
            self._quiet_until = time.monotonic() + QUIET_SECONDS
