"""The receiver, the hooks' second half: from the spool to the database and on to Redis.

A note is removed only after its push is recorded and its plan asked for; both may happen twice without harm.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from hooks import spool
from server.core import repos
from server.core.config import Config
from server.core.errors import Trouble
from server.core.model import ZERO, Push, Repo

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds after which a note without its last line is put aside: its hook has died."""
SETTLE = 10.0
"""Seconds that a ref must differ from the last push known before a push is made up for it: its hook may still run."""
COMPARE_EVERY = 60.0
"""Seconds between two comparisons of the refs with the pushes known."""
UNKNOWN = "unknown"
"""Who pushed, where the hook that knew has died."""


class PushStore(Protocol):
    """What is needed of `server.core.store.Store`."""

    def add_push(self, push: Push) -> bool:
        """Record a push once; False where it is known already."""
        ...

    def last_push(self, repo: str, ref: str) -> Push | None:
        """The newest push known for a ref."""
        ...

    def repos(self) -> Sequence[Repo]:
        """All repositories."""
        ...


class PlanQueue(Protocol):
    """What is needed of `server.core.queue.Queue`."""

    def enqueue_plan(self, push_id: str) -> object:
        """Ask for a push's plan."""
        ...


class Receiver:
    """Turns notes into pushes."""

    def __init__(self, store: PushStore, queue: PlanQueue, config: Config) -> None:
        self.store = store
        self.queue = queue
        self.config = config
        self._differing: dict[tuple[str, str, str], float] = {}

    def drain(self) -> int:
        """Receive all notes that are whole, oldest first; how many pushes were new.

        Raises:
            Trouble: The database or Redis could not be reached; the notes stay.
            OSError: The spool could not be read or written; the notes stay.
        """
        new = 0
        for path in spool.waiting(self.config):
            try:
                note = spool.read(path)
                self._known_repository(note.push)
            except FileNotFoundError:
                continue
            except spool.Unfinished as problem:
                if _age(path) > PATIENCE:
                    self._park(path, problem)
                continue
            except spool.BadNote as problem:
                self._park(path, problem)
                continue
            new += self._receive(note.push)
            path.unlink(missing_ok=True)
        return new

    def _known_repository(self, push: Push) -> None:
        if not repos.folder(self.config, push.repo).is_dir():
            raise spool.BadNote(f"names the repository {push.repo}, which is not there")

    def _receive(self, push: Push) -> bool:
        new = self.store.add_push(_with_subject(self.config, push))
        self.queue.enqueue_plan(push.id)
        return new

    def _park(self, path: Path, problem: Exception) -> None:
        """Put aside what is no note, for a person to look at; the branches are compared anyway, so no push is lost."""
        bad = spool.folder(self.config) / "bad"
        try:
            bad.mkdir(exist_ok=True)
            path.rename(bad / path.name)
        except OSError as error:
            log.error("%s %s, and cannot be put aside: %s", path, problem, error)  # noqa: TRY400 - a sentence, no trace
            return
        log.warning("%s %s; it lies in %s now", path, problem, bad)

    def repair_from_refs(self, *, settle: float = SETTLE) -> int:
        """Make up a push for each branch that no push explains (its hook died, or power was cut); how many.

        What waits in the spool is received first. A branch counts only when it was found so twice, `settle` seconds
        apart; with 0 it counts at once, which is sound only where nobody pushes meanwhile.

        Raises:
            Trouble: A repository, the database or Redis could not be read.
        """
        self.drain()
        now = time.monotonic()
        seen: dict[tuple[str, str, str], float] = {}
        made = 0
        for repo, ref, old, new in self._unexplained():
            since = seen[(repo, ref, new)] = self._differing.get((repo, ref, new), now)
            if now - since >= settle:
                push = Push(uuid.uuid4().hex[:12], repo, ref, old, new, UNKNOWN, datetime.now(UTC))
                text = "%s of %s is at %s, of which no push tells; push %s is made up for it"
                log.warning(text, ref, repo, new, push.id)
                made += self._receive(push)
                del seen[(repo, ref, new)]
        self._differing = seen
        return made

    def _unexplained(self) -> Iterator[tuple[str, str, str, str]]:
        for repo in self.store.repos():
            if not Path(repo.path).is_dir():
                log.warning("the repository %s is not at %s", repo.name, repo.path)
                continue
            for branch, commit in repos.heads(Path(repo.path)).items():
                last = self.store.last_push(repo.name, f"refs/heads/{branch}")
                if last is None or last.new != commit:
                    yield repo.name, f"refs/heads/{branch}", last.new if last else ZERO, commit

    def run(self, stop: Callable[[], bool], *, every: float = 3.0) -> None:
        """Receive until `stop` says so: at once when a hook wakes it, and every few seconds in any case."""
        spool.prepare(self.config)
        with self._listening() as wake:
            compared = -COMPARE_EVERY
            while not stop():
                try:
                    self.drain()
                    if self._differing or time.monotonic() - compared >= COMPARE_EVERY:
                        compared = time.monotonic()
                        self.repair_from_refs()
                except (Trouble, OSError) as problem:
                    log.error("pushes wait in the spool: %s", problem)  # noqa: TRY400 - a sentence, no trace
                if select.select([wake], [], [], every)[0]:
                    os.read(wake, 65536)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[int]:
        """Our end of the FIFO, and the file by which hooks know that somebody listens."""
        # Open for writing too: then it never reports an end when the last hook has closed it.
        wake = os.open(spool.wake_path(self.config), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        sign = spool.receiver_path(self.config)
        mine = f"{os.getpid()} {_said('sys/kernel/random/boot_id')} {_said('self/comm')}\n"
        try:
            sign.write_text(mine)
            yield wake
        finally:
            os.close(wake)
            with contextlib.suppress(OSError):
                if sign.read_text() == mine:
                    sign.unlink()


def _said(path: str) -> str:
    """A line of /proc, as post-receive reads it too."""
    return Path("/proc", path).read_text().strip()


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _with_subject(config: Config, push: Push) -> Push:
    if push.new == ZERO:
        return push
    try:
        subject = repos.subject(repos.folder(config, push.repo), push.new)
    except Trouble as problem:
        # For instance a tag of a blob, or a commit that a later forced push and a clean-up removed.
        log.info("push %s has no subject: %s", push.id, problem)
        return push
    return Push(**{**push.__dict__, "subject": subject[:200]})
