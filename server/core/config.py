"""Settings of one toto: command line over environment (`TOTO_…`) over `toto.toml` over default.

`toto.toml` lies in the data folder, or where `TOTO_CONFIG` says. An unknown key is an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from server.core.errors import ConfigError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def seconds(text: str | float) -> float:
    """A duration in seconds, from a number or from `90s`, `5m`, `2h`, `1d`.

    Raises:
        ValueError: It is neither, or not positive.
    """
    if isinstance(text, bool):
        raise ValueError("not a duration")
    if isinstance(text, int | float):
        value = float(text)
    elif match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text):
        value = float(match[1]) * UNITS[match[2] or "s"]
    else:
        raise ValueError(f'"{text}" is no duration: write "90s", "5m" or "2h"')
    if value <= 0:
        raise ValueError("a duration is more than nothing")
    return value


def size(text: str | int) -> int:
    """A size in bytes, from a number or from `512M`, `4G`.

    Raises:
        ValueError: It is neither, or not positive.
    """
    if isinstance(text, bool):
        raise ValueError("not a size")
    if isinstance(text, int):
        value = text
    elif match := re.fullmatch(r"\s*(\d+)\s*([KMGT]?)i?B?\s*", text):
        value = int(match[1]) * SIZES.get(match[2], 1)
    else:
        raise ValueError(f'"{text}" is no size: write "512M" or "4G"')
    if value <= 0:
        raise ValueError("a size is more than nothing")
    return value


@dataclass(frozen=True)
class Limits:
    """Bounds of a run; durations in seconds, sizes in bytes. A host's `timeouts` and `limits` override them.

    Attributes:
        build: The whole build stage.
        boot: From starting QEMU until SSH answers.
        test: One test file.
        tests: One stage of tests.
        activation: Changing a target, from start to the script's own verdict.
        memory: Memory of the VM.
        disk: Size of the VM's disk.
        cpus: Processors of the VM.
        console: Bytes of the VM's console that are kept.
        log: Bytes of one stage's log; a longer one is cut in the middle.
        output: Bytes that one test file may print.
    """

    build: float = 1800.0
    boot: float = 300.0
    test: float = 300.0
    tests: float = 1200.0
    activation: float = 900.0
    memory: int = 768 * 1024**2
    disk: int = 4 * 1024**3
    cpus: int = 2
    console: int = 4 * 1024**2
    log: int = 16 * 1024**2
    output: int = 256 * 1024**2


DURATIONS = ("build", "boot", "test", "tests", "activation")
BYTES = ("memory", "disk", "console", "log", "output")


@dataclass(frozen=True)
class Config:
    """Settings of the server.

    Attributes:
        data: The folder that holds all that must outlive the processes.
        listen: Address the web listens on.
        port: Port of the web.
        url: Address under which people reach the pages; hooks print it.
        database: SQLAlchemy URL; SQLite in the data folder by default.
        redis: Redis URL; empty for the embedded default (a socket in the data folder).
        workers: How many build workers `toto up` starts.
        limits: Bounds of a run.
        keep_runs: How many final runs of a host keep their logs.
        keep_generations: How many releases of a host are kept beside its last good.
    """

    data: Path
    listen: str = "127.0.0.1"
    port: int = 8686
    url: str = ""
    database: str = ""
    redis: str = ""
    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    keep_runs: int = 200
    keep_generations: int = 5

    @property
    def address(self) -> str:
        """Where people reach the pages, without a trailing slash."""
        host = f"[{self.listen}]" if ":" in self.listen else self.listen
        return self.url.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database or f"sqlite:///{self.data / 'toto.db'}"

    @property
    def redis_url(self) -> str:
        """URL of Redis."""
        return self.redis or f"unix://{self.data / 'redis' / 'redis.sock'}"

    def folder(self, *parts: str) -> Path:
        """A folder below the data folder."""
        return self.data.joinpath(*parts)


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}"


def limits_from(given: Mapping[str, Any], base: Limits, where: str) -> Limits:
    """`base` with what `given` overrides.

    Raises:
        ConfigError: An unknown key, or a value that is no duration, size or number.
    """
    known = [item.name for item in fields(Limits)]
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f'unknown key "{key}" in [limits]', where=where, mend=_suggest(key, known))
        try:
            values[key] = seconds(value) if key in DURATIONS else size(value) if key in BYTES else int(value)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"[limits] {key}: {error}", where=where) from error
    return dataclasses.replace(base, **values)


RANGES = {"port": (1, 65535), "workers": (1, 64), "keep_runs": (1, 10**6), "keep_generations": (1, 10**6)}
"""Least and greatest value of each setting that is a number."""


def _coerce(key: str, value: Any, where: str) -> Any:
    """`value` as the type of the field `key`."""
    default = {item.name: item.default for item in fields(Config)}[key]
    wanted = type(default)
    if wanted is int:
        try:
            if isinstance(value, bool):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{key} wants a whole number, not {value!r}", where=where) from None
        least, most = RANGES[key]
        if not least <= number <= most:
            raise ConfigError(f"{key} is between {least} and {most}, not {number}", where=where)
        return number
    if not isinstance(value, str):
        raise ConfigError(f"{key} wants text, not {value!r}", where=where)
    return value


SIMPLE = tuple(item.name for item in fields(Config) if item.name not in ("data", "limits"))


def default_data(environ: Mapping[str, str]) -> Path:
    """The data folder where nobody names one: `/var/lib/toto` for root, else one in the home folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/toto")
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "toto"


def load(
    data: str | None = None, overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Config:
    """The settings in force; see `explain` for where each comes from.

    Raises:
        ConfigError: An unknown key or a wrong value, with its place.
    """
    return explain(data, overrides, environ)[0]


def explain(
    data: str | None = None, overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Config, dict[str, str]]:
    """The settings in force, and for each key where its value comes from."""
    folder = Path(data or environ.get("TOTO_DATA") or default_data(environ)).absolute()
    sources = {"data": "command line" if data else "TOTO_DATA" if environ.get("TOTO_DATA") else "default"}
    values: dict[str, Any] = {}
    file = Path(environ.get("TOTO_CONFIG") or folder / "toto.toml")
    limits = Limits()
    for key, value in _file(file).items():
        if key == "limits":
            if not isinstance(value, dict):
                raise ConfigError("[limits] wants a table", where=str(file))
            limits = limits_from(value, limits, str(file))
            sources["limits"] = str(file)
        elif key in SIMPLE:
            values[key], sources[key] = _coerce(key, value, str(file)), str(file)
        else:
            raise ConfigError(f'unknown key "{key}"', where=str(file), mend=_suggest(key, [*SIMPLE, "limits"]))
    for key in SIMPLE:
        if (name := f"TOTO_{key.upper()}") in environ and not (key == "url" and "TOTO_TOKEN" in environ):
            values[key], sources[key] = _coerce(key, environ[name], name), name
    for key, value in (overrides or {}).items():
        if value is not None:
            values[key], sources[key] = _coerce(key, value, f"--{key}"), "command line"
    for key in (*SIMPLE, "limits"):
        sources.setdefault(key, "default")
    return Config(data=folder, limits=limits, **values), sources


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(error), where=str(path), mend="correct the file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from error
