"""Who is there: login with a password, a signed session cookie, CSRF tokens, and how often one may guess."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, current_app, g, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from server.core.config import Config
from server.core.people import ADMINISTRATOR, check_password
from server.core.store import Store
from server.web.services import services

blueprint = Blueprint("auth", __name__)

MAY_ACT = ("operator", ADMINISTRATOR)
WINDOW_SECONDS = 300.0
GUESSES_BY_ADDRESS = 10
GUESSES_BY_NAME = 30
"""More than by address: nobody shall lock an administrator out with a few wrong guesses."""


class Guesses:
    """Counts wrong passwords of the last minutes, by key, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, deque[float]] = {}

    def wait(self, limits: dict[str, int]) -> float:
        """Seconds until one may guess again; 0 where one may now. `limits`: how many wrong ones each key may have."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            waits = [
                self._wrong[key][0] + WINDOW_SECONDS - now
                for key, limit in limits.items()
                if len(self._wrong.get(key, ())) >= limit
            ]
        return max(waits, default=0.0)

    def wrong(self, keys: list[str]) -> None:
        """A guess was wrong."""
        now = self._clock()
        with self._lock:
            for key in keys:
                self._wrong.setdefault(key, deque()).append(now)

    def _forget(self, now: float) -> None:
        for key in list(self._wrong):
            times = self._wrong[key]
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
            if not times:
                del self._wrong[key]


def secret_key(config: Config) -> bytes:
    """The key that signs sessions: 32 random bytes in `keys/web/secret`, made where missing, readable by us alone."""
    path: Path = config.folder("keys", "web", "secret")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _read_key(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()


def _read_key(path: Path) -> bytes:
    """The key; where another process has just made the file, its bytes may take a moment."""
    deadline = time.monotonic() + 2
    while len(key := path.read_bytes()) < 32 and time.monotonic() < deadline:
        time.sleep(0.01)
    if len(key) < 32:  # a full disk left it short: sessions signed with it would be anybody's
        path.unlink(missing_ok=True)
        raise OSError(f"{path} was too short and has been removed; start again")
    return key


def load_person() -> None:
    """Who this request comes from, as `g.person` and `g.role`; a changed password ends older sessions."""
    g.person, g.role = None, None
    name = session.get("person")
    if not isinstance(name, str):
        return
    found = services().store.user(name)
    if found is None or not hmac.compare_digest(session.get("seal", ""), _seal(found["password"])):
        session.clear()
        return
    g.person, g.role = name, str(found["role"])


def _seal(password_hash: str) -> str:
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]


def may_act() -> bool:
    """Whether whoever is there may press buttons."""
    return g.get("role") in MAY_ACT


def csrf_token() -> str:
    """This session's token for forms."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def check_csrf() -> None:
    """Refuse what another site sent: a foreign or missing token, a foreign Origin."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403, "this request came from another site")
    origin = request.headers.get("Origin")
    config: Config = current_app.config["TOTO"]
    known = {_origin(request.host_url), _origin(config.address)}
    if origin is not None and _origin(origin) not in known:
        abort(403, f"this request came from {origin}, not from these pages; see `url` in toto.toml")
    given = request.form.get("csrf") or request.headers.get("X-CSRF-Token") or ""
    if not hmac.compare_digest(str(session.get("csrf", "")), given) or not given:
        abort(403, "the form is too old or came from elsewhere; go back, load the page again and try once more")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def needs_login(view: Callable[..., Any]) -> Callable[..., Any]:
    """A page for those who may act: others are sent to the login; a POST is checked against forgery."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if request.method == "POST":
            check_csrf()
        if g.person is None:
            here = request.full_path.rstrip("?") if request.method == "GET" else url_for("pages.fleet")
            return redirect(url_for("auth.login", next=here))
        if not may_act():
            abort(403, f"{g.person} may look, but not act; an administrator can change that")
        return view(*args, **kwargs)

    return checked


def local_path(given: str | None) -> str:
    """`given` where it is a path of these pages, else the front page: a login never leads elsewhere."""
    home = url_for("pages.fleet")
    if not given or not given.startswith("/") or given.startswith("//"):
        return home
    if "\\" in given or any(ord(letter) < 32 or ord(letter) == 127 for letter in given):
        return home
    parts = urlsplit(given)
    return given if not parts.scheme and not parts.netloc else home


@blueprint.get("/login")
def login() -> str | Response:
    """The form."""
    if g.person:
        return redirect(local_path(request.args.get("next")))
    return _form()


def _form(problem: str = "", name: str = "") -> str:
    people = bool(services().store.users())
    target = local_path(request.args.get("next") or request.form.get("next"))
    return render_template("login.html", problem=problem, name=name, people=people, next=target)


@blueprint.post("/login")
def enter() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Check the password, and begin a session of its own."""
    check_csrf()
    store, guesses = services().store, _guesses()
    name, address = request.form.get("name", "")[:64], request.remote_addr or "unknown"
    limits = {f"address {address}": GUESSES_BY_ADDRESS, f"name {name}": GUESSES_BY_NAME}
    if wait := guesses.wait(limits):
        problem = f"Too many wrong passwords from {address}. Try again in {int(wait // 60) + 1} min."
        return _form(problem, name), 429, {"Retry-After": str(int(wait) + 1)}
    if not check_password(store, name, request.form.get("password", "")):
        guesses.wrong(list(limits))
        store.add_act(name or "nobody", "login-failed", name or "nobody", address=address)
        return _form("That name and that password do not belong together.", name), 403
    target = local_path(request.form.get("next"))
    begin_session(store, name)
    store.add_act(name, "login", name, address=address)
    return redirect(target, 303)


def begin_session(store: Store, name: str) -> None:
    """A fresh session for a person, with a token that nobody knew before."""
    found = store.user(name)
    assert found is not None  # noqa: S101 - the password has just been checked
    session.clear()
    session.permanent = True
    session["person"], session["seal"] = name, _seal(found["password"])
    csrf_token()


@blueprint.post("/logout")
def logout() -> Response:
    """End the session."""
    check_csrf()
    if g.person:
        services().store.add_act(g.person, "logout", g.person, address=request.remote_addr or "unknown")
    session.clear()
    return redirect(url_for("pages.fleet"), 303)


def _guesses() -> Guesses:
    found: Guesses = current_app.extensions["guesses"]
    return found
