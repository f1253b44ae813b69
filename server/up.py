"""`toto up`: the embedded default. Redis, receiver and reconciler, web and workers, each a process of its own that is
started again when it dies, all ended together.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hooks import install
from hooks.receiver import Receiver
from jobs.job import lock_file
from jobs.reconcile import Reconciler
from server.core import privileges, process
from server.core.config import Config
from server.core.errors import ConfigError, QueueTrouble, TotoError, Trouble
from server.core.privileges import Users
from server.core.queue import BUILD, DEPLOY, PLAN, Queue
from server.core.store import Store
from server.web.serve import gunicorn_argv

READY_SECONDS = 60.0
AGAIN_SECONDS = 1.0
"""Least time between two starts of the same process, so that one which cannot start does not spin."""
REDIS = "redis"
STOP_SECONDS = {DEPLOY: 120.0, "web": 3.0, REDIS: 10.0}
"""How long a process may take to end by itself; a deploy is given the time to end in order."""
REDIS_SERVERS = ("redis-server", "valkey-server")
SOCKET_LIMIT = 107
"""Bytes of a unix socket's path (unix(7))."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Service:
    """One of toto's processes."""

    name: str
    argv: tuple[str, ...]
    user: str | None
    group: str | None
    grace: float = 2.0
    cwd: Path | None = None


@dataclass
class Running:
    """A service and its process."""

    service: Service
    output: IO[bytes]
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    child: Any = None
    began: float = 0.0

    def start(self, env: dict[str, str]) -> None:
        """Start it (again)."""
        self.stack.close()
        self.stack = contextlib.ExitStack()
        self.began = time.monotonic()
        service = self.service
        groups: list[str] | None = [] if service.user else None
        self.child = self.stack.enter_context(
            process.started(
                service.argv,
                env=env,
                cwd=service.cwd,
                output=self.output,
                user=service.user,
                group=service.group,
                groups=groups,
                umask=0o007,
                grace=service.grace,
            )
        )

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGTERM)


def python(*arguments: str) -> tuple[str, ...]:
    """A command of toto's own Python, which never has a working directory on its path."""
    return (sys.executable, "-I", "-m", "server.cli", *arguments)


def environment(config: Config) -> dict[str, str]:
    """What every process of this toto is told: the same settings, wherever they came from."""
    own = {name: value for name, value in os.environ.items() if name.startswith("TOTO_")}
    if file := own.get("TOTO_CONFIG"):
        own["TOTO_CONFIG"] = str(Path(file).absolute())
    own |= {"TOTO_DATA": str(config.data), "TOTO_PORT": str(config.port), "TOTO_LISTEN": config.listen}
    return process.environment({**own, "PYTHONUNBUFFERED": "1"})


def services(config: Config, who: Users) -> list[Service]:
    """Toto's processes beside Redis, in the order in which they start."""
    cwd = config.folder("empty")
    made = [Service("receiver", python("reconcile", "--follow"), who.builder, who.group, cwd=cwd)]
    made.append(Service("web", tuple(gunicorn_argv(config)), who.builder, who.group, STOP_SECONDS["web"], cwd=cwd))
    made.append(Service("plan", python("worker", PLAN), who.builder, who.group, cwd=cwd))
    for number in range(1, config.workers + 1):
        made.append(Service(f"build-{number}", python("worker", BUILD), who.builder, who.group, cwd=cwd))
    for number in range(1, config.workers + 1):
        argv = python("worker", DEPLOY)
        made.append(Service(f"deploy-{number}", argv, who.deployer, who.group, STOP_SECONDS[DEPLOY], cwd=cwd))
    return made


def up(config: Config, tell: Tell) -> None:
    """Run all of toto until SIGINT or SIGTERM; `tell` gets `ready URL` and what goes wrong.

    Raises:
        ConfigError: Another `toto up` runs on this data folder, its path is too long, or the port is taken.
        Trouble: A part does not start.
    """
    stopping = _asked_to_stop()
    if os.geteuid() == 0:
        privileges.make_users()
    privileges.prepare(config)
    config.folder("empty").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        if not stack.enter_context(lock_file(config, "up")):
            raise ConfigError("toto runs on this data folder already", where=str(config.data), mend="stop it first")
        _port_is_free(config)
        who = privileges.users()
        _initialise(config)
        logs = config.folder("log")
        logs.mkdir(exist_ok=True)
        wanted = services(config, who) if config.redis else [redis_service(config, who), *services(config, who)]
        _supervise(config, [_running(service, logs) for service in wanted], stopping, tell)


def _asked_to_stop() -> list[int]:
    """A list that gets each signal which asks toto to end.

    SIGINT counts even where it was ignored, as a shell does for what it starts in the background; a hangup that was
    ignored (nohup) stays so.
    """
    stopping: list[int] = []
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if sign is not signal.SIGHUP or signal.getsignal(sign) is not signal.SIG_IGN:
            signal.signal(sign, lambda number, _frame: stopping.append(number))
    return stopping


def _port_is_free(config: Config) -> None:
    """The port is tried before anything starts: else somebody else's answer there could be taken for ours.

    Raises:
        ConfigError: Something listens there.
    """
    with socket.socket(socket.AF_INET6 if ":" in config.listen else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.listen, config.port))
        except OSError as error:
            raise ConfigError(
                f"port {config.port} of {config.listen} cannot be had: {error.strerror}",
                mend="stop what listens there, or choose another one (--port, TOTO_PORT)",
            ) from error


def _running(service: Service, logs: Path) -> Running:
    return Running(service, (logs / f"{service.name}.log").open("ab"))


def _initialise(config: Config) -> None:
    """Database, keys and hooks as this version wants them; all of it handed to toto's users."""
    (config.data / "address").write_text(f"{config.address}\n")  # the hooks of repositories made later print it
    store = Store(config)
    for repo in store.repos():
        if Path(repo.path).is_dir():
            install.install(config, Path(repo.path))
    store.close()
    privileges.prepare(config)


def redis_service(config: Config, who: Users) -> Service:
    """The embedded Redis: a private socket, an append-only file, nothing on any port.

    Raises:
        ConfigError: The data folder's path is too long for a socket.
        ToolMissing: There is no Redis on this machine.
    """
    folder = config.folder("redis")
    path = folder / "redis.sock"
    if len(str(path).encode()) > SOCKET_LIMIT:
        raise ConfigError(
            "the data folder's path is too long for a socket", where=str(path), mend="choose a shorter one"
        )
    settings = {
        "port": "0", "unixsocket": str(path), "unixsocketperm": "770", "dir": str(folder), "appendonly": "yes",
        "appendfsync": "everysec", "save": "", "daemonize": "no", "loglevel": "warning",
    }  # fmt: skip
    flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
    return Service(REDIS, (redis_program(), *flags), who.builder, who.group, STOP_SECONDS[REDIS], cwd=folder)


def redis_program() -> str:
    """The system's Redis or Valkey.

    Raises:
        ToolMissing: There is none.
    """
    for name in REDIS_SERVERS[:-1]:
        with contextlib.suppress(TotoError):
            return process.tool(name)
    return process.tool(REDIS_SERVERS[-1])


def _web_answers(config: Config) -> bool:
    host = f"[{config.listen}]" if ":" in config.listen else config.listen
    try:
        with urllib.request.urlopen(f"http://{host}:{config.port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _supervise(config: Config, running: Sequence[Running], stopping: list[int], tell: Tell) -> None:
    env = environment(config)
    try:
        for each in running:
            each.start(env)
            if each.service.name == REDIS:
                _until(Queue(config).ping, "Redis", [each], stopping)
        _until(lambda: _web_answers(config), "the web", running, stopping)
        if not stopping:
            tell(f"ready {config.address}")
        while not stopping:
            time.sleep(0.2)
            for each in running:
                if each.child.poll() is not None and time.monotonic() - each.began > AGAIN_SECONDS:
                    tell(f"{each.service.name} ended with {each.child.returncode}; it is started again")
                    each.start(env)
    finally:
        # Redis last: what finishes its work tells it.
        _end([each for each in running if each.service.name != REDIS], stopping, tell)
        _end([each for each in running if each.service.name == REDIS], stopping, tell)


def _until(answers: Callable[[], bool], what: str, running: Sequence[Running], stopping: list[int]) -> None:
    """Wait for an answer, or for a signal.

    Raises:
        Trouble: It does not come in time, or one of the processes ends.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not stopping and not answers():
        for each in running:
            if each.child.poll() is not None:
                raise Trouble(f"{each.service.name} ended at once", mend=f"its log: {each.output.name}")
        if time.monotonic() > deadline:
            raise Trouble(
                f"{what} did not answer within {READY_SECONDS:g} s", mend=f"its log: {running[-1].output.name}"
            )
        time.sleep(0.05)


def _end(running: Sequence[Running], stopping: list[int], tell: Tell) -> None:
    """End all services side by side; a second signal ends those at once that still finish their work."""
    started = [each for each in running if each.child is not None]
    for each in started:
        each.ask_to_end()
    began, told, asked = time.monotonic(), False, len(stopping)
    while any(_still(each, began) for each in started) and len(stopping) <= asked:
        if not told and time.monotonic() - began > 3:
            told = True
            tell("finishing deploys that have begun; once more Ctrl-C leaves them to the targets' dead-man")
        time.sleep(0.05)
    for each in started:
        if each.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.child.pid, signal.SIGKILL)
        each.stack.close()
        each.output.close()


def _still(each: Running, began: float) -> bool:
    return each.child.poll() is None and time.monotonic() - began < each.service.grace


def keep(config: Config, tell: Tell, *, once: bool = False) -> None:
    """Receive pushes and repair, every few seconds, until told to stop. A fault of one round does not end the next."""
    stopping = _asked_to_stop()
    privileges.prepare(config)
    store, queue = Store(config), Queue(config)
    receiver, reconciler = Receiver(store, queue, config), Reconciler(config, store, queue)

    def one_round() -> bool:
        try:
            for sentence in reconciler.tick():
                tell(sentence)
        except QueueTrouble as trouble:
            tell(str(trouble))
        except TotoError as trouble:
            tell(f"a round of repair failed: {trouble}")
        return bool(stopping)

    if once:
        receiver.drain()
        with contextlib.suppress(QueueTrouble):
            receiver.repair_from_refs(settle=0)
        one_round()
    else:
        receiver.run(one_round)


def whoami() -> str:
    """Who acts, for the audit log: the person behind sudo, where there is one."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
