"""Fixtures of the web's tests; a module takes them with `pytest_plugins = ["tests.webfixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from server.core.config import Config
from server.web.app import create_app
from server.web.services import KEY
from tests.webdata import Fleet, copy_into


@pytest.fixture
def fleet(config: Config) -> Iterator[Fleet]:
    """The busy fleet in this test's own data folder."""
    made = copy_into(config)
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
