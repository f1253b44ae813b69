"""Logging in from a test."""

from __future__ import annotations

import re
from functools import cache

from argon2 import PasswordHasher
from flask.testing import FlaskClient

PASSWORD = "correct horse battery"


@cache
def quick_hash() -> str:
    """The password's hash at the least cost that argon2 knows: tests log in often."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def token(client: FlaskClient, path: str = "/login") -> str:
    """The token of a page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def log_in(client: FlaskClient, name: str = "ada", password: str = PASSWORD, **more: str) -> int:
    """The status of an attempt to log in."""
    form = {"csrf": token(client), "name": name, "password": password, **more}
    return client.post("/login", data=form).status_code
