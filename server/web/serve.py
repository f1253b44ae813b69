"""How the web is started: gunicorn, as an argument list for whoever supervises it."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from flask import Flask

from server.core.config import Config, Limits
from server.web.app import create_app


def app_for(settings: dict[str, Any]) -> Flask:
    """The application for settings as `settings_of` writes them; gunicorn calls this in its worker."""
    limits = Limits(**settings["limits"])
    return create_app(Config(**{**settings, "data": Path(settings["data"]), "limits": limits}))


def settings_of(config: Config) -> dict[str, Any]:
    """All of a configuration as plain values: the web then reads neither file nor environment, and cannot differ."""
    limits = {field.name: getattr(config.limits, field.name) for field in fields(Limits)}
    values = {field.name: getattr(config, field.name) for field in fields(Config)}
    return {**values, "data": str(config.data), "limits": limits}


def gunicorn_argv(config: Config, bind: int | str | None = None) -> list[str]:
    """The command that serves the pages.

    Args:
        config: What to serve.
        bind: A port on `config.listen`, a gunicorn address such as `unix:/path`, or nothing for `config.port`.

    gunicorn puts its working directory on `sys.path`, even under `-P`, and reads a `gunicorn.conf.py` from it: so it gets
    an empty folder of ours, and its settings by name. A fleet's checkout, with a `jobs/` of its own, is never imported.
    """
    empty = config.folder("empty")
    empty.mkdir(parents=True, exist_ok=True)
    address = bind if isinstance(bind, str) else f"{_bracketed(config.listen)}:{bind or config.port}"
    return [
        *(sys.executable, "-P", "-m", "gunicorn"),
        *("--config", "python:server.web.gunicorn_settings"),
        *("--chdir", str(empty), "--no-control-socket", "--bind", address),
        f"server.web.serve:app_for({settings_of(config)!r})",
    ]


def _bracketed(name: str) -> str:
    """An IPv6 address in brackets, as an address with a port wants it."""
    return f"[{name}]" if ":" in name else name
