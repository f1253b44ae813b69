"""Fixtures of the web's tests; a module takes them with `pytest_plugins = ["tests.webfixtures"]`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from server.core.config import Config
from server.core.store import Store
from server.web.app import create_app
from server.web.services import KEY
from tests.webdata import Fleet, fill


@pytest.fixture(scope="session")
def filled() -> Iterator[Fleet]:
    """The busy fleet, made once: a test gets a copy of it."""
    with tempfile.TemporaryDirectory(prefix="toto-filled.") as folder:
        fleet = fill(Config(data=Path(folder)))
        fleet.store.close()
        yield fleet


@pytest.fixture
def fleet(config: Config, filled: Fleet) -> Iterator[Fleet]:
    """The busy fleet in this test's own data folder."""
    shutil.copytree(filled.config.data, config.data, dirs_exist_ok=True)
    made = replace(filled, config=config, store=Store(config), pushes=dict(filled.pushes))
    yield made
    made.store.close()


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    """The application on this test's data folder."""
    made = create_app(config)
    yield made
    made.extensions[KEY].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without a screen."""
    return app.test_client()
