"""The Flask application: `create_app` makes one for a configuration, so that each test has its own."""

from __future__ import annotations

import hashlib
import logging
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, render_template, request, url_for
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

import templates
from server.core.config import Config
from server.core.errors import Refused, TotoError, UsageFault
from server.web import api, auth, buttons, pages, words
from server.web.services import KEY, Services

STATIC = Path(__file__).with_name("static")
EVERY_NAME = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
BIGGEST_FORM = 64 * 1024

log = logging.getLogger("toto.web")


def create_app(config: Config) -> Flask:
    """Toto's pages and API for one configuration; nothing is opened before the first request."""
    app = Flask("toto", static_folder=str(STATIC), template_folder=str(Path(templates.__file__).parent))
    app.config.update(
        TOTO=config,
        SECRET_KEY=auth.secret_key(config),
        SESSION_COOKIE_NAME=f"toto_{config.port}",  # cookies know no ports: two totos on a machine keep apart
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.address.startswith("https://"),
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        MAX_CONTENT_LENGTH=BIGGEST_FORM,
    )
    app.extensions[KEY] = Services(config)
    app.extensions["guesses"] = auth.Guesses()
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    _templates(app)
    app.before_request(_check_host)
    app.before_request(_load_person)
    app.after_request(_headers)
    for blueprint in (pages.blueprint, buttons.blueprint, auth.blueprint, api.blueprint, api.health):
        app.register_blueprint(blueprint)
    app.register_error_handler(TotoError, _told)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _broken)
    return app


def _templates(app: Flask) -> None:
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(words.FILTERS)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:10] for path in STATIC.iterdir()}

    def static(name: str) -> str:
        return url_for("static", filename=name, v=digests[name])

    app.jinja_env.globals.update(static=static, csrf_token=auth.csrf_token, may_act=auth.may_act)


def _load_person() -> None:
    if request.endpoint == "static" or request.blueprint == "health":
        g.person, g.role = None, None
        return
    auth.load_person()


def _check_host() -> Response | None:
    """Refuse names that are not ours: a foreign name that resolves to this address must not read the pages."""
    config = _config()
    if request.blueprint == "health" or (config.listen in ("0.0.0.0", "::") and not config.url):  # noqa: S104
        return None
    name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    own = config.address.split("://", 1)[-1].split("/", 1)[0]
    allowed = {*LOCAL_NAMES, config.listen, own.rsplit(":", 1)[0]}
    if name.lower() in {known.lower() for known in allowed}:
        return None
    text = f'toto does not know itself as "{name}". Set url = "http://{name}" in toto.toml if it is.\n'
    return Response(text, 421, content_type="text/plain; charset=utf-8")


def _config() -> Config:
    from flask import current_app

    found: Config = current_app.config["TOTO"]
    return found


def _headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static" and "v" in request.args:
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    else:
        response.headers.setdefault("Cache-Control", "private, no-cache")
    if _config().address.startswith("https://"):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _answer(status: int, title: str, detail: str, mend: str = "") -> tuple[Any, int]:
    """A problem: RFC 9457's JSON for the API, a page for people."""
    if request.path.startswith("/api/"):
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "mend": mend or None}
        answer = jsonify(body)
        answer.content_type = "application/problem+json"
        return answer, status
    g.setdefault("person", None)
    g.setdefault("role", None)
    return render_template("error.html", status=status, title=title, detail=detail, mend=mend), status


def _told(error: TotoError) -> tuple[Any, int]:
    """Toto's own errors say what happened and what to do."""
    what = f"{error.where}: {error.what}" if error.where else error.what
    if isinstance(error, UsageFault):
        return _answer(400, "That cannot be done so", what, error.mend)
    if isinstance(error, Refused):
        return _answer(409, "toto says no", what, error.mend)
    return _answer(503, "toto could not do that now", what, error.mend)


def _http(error: HTTPException) -> Any:
    if error.response is not None or error.code is None or error.code < 400:
        return error
    return _answer(error.code, error.name, error.description or "")


def _broken(error: Exception) -> tuple[Any, int]:
    """A fault of toto's own: the details go to the log, a mark to find them there to the reader."""
    mark = uuid.uuid4().hex[:8]
    log.error("%s %s broke, mark %s", request.method, request.path, mark, exc_info=error)
    return _answer(500, "toto itself broke", f"The details are in toto's log, marked {mark}.", "Tell the operator.")
