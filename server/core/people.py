"""People who may press buttons: names, password hashes (argon2id), roles."""

from __future__ import annotations

import re
import secrets
from functools import cache
from typing import TYPE_CHECKING

from server.core.errors import UsageFault
from server.core.store import Store

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ADMINISTRATOR = "administrator"
ROLES = ("viewer", "operator", ADMINISTRATOR)
SHORTEST = 10
"""Fewest characters of a password (NIST SP 800-63B asks for at least 8, and for no other rule)."""
LONGEST = 1024
"""Most characters: hashing is work, and nobody may order work without bound."""
NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # imported late: no quick command needs it

    return PasswordHasher()  # argon2-cffi's defaults are RFC 9106's low-memory choice


@cache
def _decoy() -> str:
    """A hash of nothing anybody knows: an unknown name then takes as long as a wrong password."""
    return _hasher().hash(secrets.token_hex(16))


def set_password(store: Store, name: str, password: str, role: str = ADMINISTRATOR) -> None:
    """Enter a person, or change their password and role.

    Raises:
        UsageFault: The name, the password or the role is not fit.
    """
    if not NAME.fullmatch(name):
        raise UsageFault(
            f"{name!r} is no name for a person",
            mend="write 1 to 32 of a-z, 0-9, dot, dash and underscore, a letter first",
        )
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageFault(f"a password has {SHORTEST} to {LONGEST} characters", mend="choose another")
    if role not in ROLES:
        raise UsageFault(f"there is no role {role!r}", mend=f"choose one of {', '.join(ROLES)}")
    store.set_user(name, _hasher().hash(password), role)


def check_password(store: Store, name: str, password: str) -> bool:
    """Whether this is that person's password. Takes as long for an unknown name as for a known one."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    person = store.user(name) if NAME.fullmatch(name) else None
    known = person["password"] if person else _decoy()
    try:
        right = _hasher().verify(known, password if len(password) <= LONGEST else "")
    except (Argon2Error, InvalidHashError):
        return False
    return right and person is not None


def role(store: Store, name: str) -> str | None:
    """A person's role; None where there is no such person."""
    person = store.user(name)
    return str(person["role"]) if person else None
