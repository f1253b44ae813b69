"""How the web is served: gunicorn as a library, so that it reads no file and no environment that is not ours."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it brings no types

from server.core.config import Config, Limits
from server.web.app import create_app
from server.web.limits import THREADS

SETTINGS = {
    "worker_class": "gthread",
    "workers": 1,
    "threads": THREADS,
    "keepalive": 15,
    "graceful_timeout": 1,  # live views are open for ever; browsers come back by themselves
    "timeout": 60,
    "loglevel": "warning",
    "proc_name": "toto-web",
    "forwarded_allow_ips": "",  # no proxy header is believed unless a setting says so
    "control_socket_disable": True,
}


class Server(BaseApplication):  # type: ignore[misc]  # of an untyped class
    """gunicorn for one configuration; `BaseApplication`, unlike gunicorn's command, touches neither path nor files."""

    def __init__(self, config: Config, bind: str) -> None:
        self._config = config
        self._bind = bind
        super().__init__()

    def load_config(self) -> None:
        """The settings."""
        for key, value in {**SETTINGS, "bind": self._bind}.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        """The application, made in the worker."""
        return create_app(self._config)


def to_text(config: Config) -> str:
    """All of a configuration as JSON: the web reads neither file nor environment, and so cannot differ."""
    limits = {field.name: getattr(config.limits, field.name) for field in fields(Limits)}
    values = {field.name: getattr(config, field.name) for field in fields(Config)}
    return json.dumps({**values, "data": str(config.data), "limits": limits})


def from_text(text: str) -> Config:
    """The configuration that `to_text` wrote."""
    values: dict[str, Any] = json.loads(text)
    return Config(**{**values, "data": Path(values["data"]), "limits": Limits(**values["limits"])})


def gunicorn_argv(config: Config, bind: int | str | None = None) -> list[str]:
    """The command that serves the pages.

    Args:
        config: What to serve.
        bind: A port on `config.listen`, a gunicorn address such as `unix:/path`, or nothing for `config.port`.

    gunicorn's own command puts its working directory on `sys.path`, even under `-P`, and imports from it: a fleet's
    checkout with a `jobs/` or a `server/` of its own would be run. This one, isolated (`-I`), never looks there.
    """
    address = bind if isinstance(bind, str) else f"{_bracketed(config.listen)}:{bind or config.port}"
    return [sys.executable, "-I", "-m", "server.web.serve", address, to_text(config)]


def _bracketed(name: str) -> str:
    """An IPv6 address in brackets, as an address with a port wants it."""
    return f"[{name}]" if ":" in name else name


def main(arguments: list[str]) -> None:
    """Serve until a signal ends it, from an empty folder of ours."""
    bind, text = arguments
    config = from_text(text)
    empty = config.folder("empty")
    empty.mkdir(parents=True, exist_ok=True)
    os.chdir(empty)
    Server(config, bind).run()


if __name__ == "__main__":
    main(sys.argv[1:])
