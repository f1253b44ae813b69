"""Settings: command line over environment over file over default."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.core import config
from server.core.errors import ConfigError


def write(folder: Path, text: str) -> None:
    (folder / "toto.toml").write_text(text)


def test_defaults(tmp_path: Path) -> None:
    made = config.load(str(tmp_path), environ={})
    assert made.address == "http://127.0.0.1:8686"
    assert made.database_url == f"sqlite:///{tmp_path}/toto.db"
    assert made.redis_url == f"unix://{tmp_path}/redis/redis.sock"


def test_each_source_beats_the_one_below(tmp_path: Path) -> None:
    write(tmp_path, "port = 1000\nworkers = 3\n")
    env = {"TOTO_PORT": "2000"}
    assert config.load(str(tmp_path), environ={}).port == 1000
    assert config.load(str(tmp_path), environ=env).port == 2000
    made, sources = config.explain(str(tmp_path), {"port": 3000, "workers": None}, env)
    assert (made.port, made.workers) == (3000, 3)
    assert sources["port"] == "command line"
    assert sources["workers"] == str(tmp_path / "toto.toml")
    assert sources["listen"] == "default"


def test_the_data_folder_comes_from_the_option_or_the_environment(tmp_path: Path) -> None:
    assert config.load(None, environ={"TOTO_DATA": str(tmp_path / "a")}).data == tmp_path / "a"
    assert config.load(str(tmp_path / "b"), environ={"TOTO_DATA": str(tmp_path / "a")}).data == tmp_path / "b"


def test_an_unknown_key_is_an_error_with_a_hint(tmp_path: Path) -> None:
    write(tmp_path, "prot = 1\n")
    with pytest.raises(ConfigError, match=r'toto.toml: unknown key "prot"; did you mean "port"\?'):
        config.load(str(tmp_path), environ={})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port = 'x'", "port wants a whole number"),
        ("port = true", "port wants a whole number"),
        ("url = 3", "url wants text"),
        ("limits = 3", r"\[limits\] wants a table"),
        ("[limits]\nboot = '5 parsecs'", "no duration"),
        ("[limits]\nmemory = -1", "more than nothing"),
        ("[limits]\nbot = '5m'", 'did you mean "boot"'),
        ("port = ", "Invalid value"),
    ],
)
def test_wrong_values_are_told_with_their_place(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as caught:
        config.load(str(tmp_path), environ={})
    assert "toto.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_limits_take_durations_and_sizes(tmp_path: Path) -> None:
    write(tmp_path, "[limits]\nboot = '2m'\nmemory = '1G'\ncpus = 1\n")
    limits = config.load(str(tmp_path), environ={}).limits
    assert (limits.boot, limits.memory, limits.cpus) == (120.0, 1024**3, 1)


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), (7, 7), ("1.5m", 90)]
)
def test_durations(text: str | int, value: float) -> None:
    assert config.seconds(text) == value


@pytest.mark.parametrize("text", ["", "5 minutes", "-1", "0", 0, "m", True])
def test_what_is_no_duration(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        config.seconds(text)
