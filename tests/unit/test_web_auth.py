"""Login, sessions, forgery, guessing, and that a login never leads elsewhere."""

from __future__ import annotations

import stat

import pytest
from flask import Flask
from flask.testing import FlaskClient

from server.core import people
from server.core.config import Config
from server.core.errors import UsageFault
from server.core.store import Store
from server.web import auth
from server.web.app import create_app
from server.web.services import KEY
from tests.webclient import PASSWORD, log_in, quick_hash, token

pytest_plugins = ["tests.webfixtures"]
HOSTILE_TARGETS = (
    "//evil.example",
    "https://evil.example/",
    "/\\evil.example",
    "\\\\evil",
    "/a\nb",
    "javascript:x",
    "evil",
    "",
)


@pytest.fixture
def client(app: Flask, store: Store) -> FlaskClient:
    store.set_user("ada", quick_hash(), "administrator")
    store.set_user("vic", quick_hash(), "viewer")
    return app.test_client()


def test_a_password_is_kept_as_argon2_and_checked(store: Store) -> None:
    people.set_password(store, "eve", PASSWORD)
    kept = store.user("eve")
    assert kept is not None
    assert kept["password"].startswith("$argon2id$")
    assert people.check_password(store, "eve", PASSWORD)
    assert not people.check_password(store, "eve", PASSWORD + "x")
    assert not people.check_password(store, "nobody", PASSWORD)
    assert not people.check_password(store, "eve", "x" * 5000)


@pytest.mark.parametrize(
    ("name", "password", "role"), [("Ada B", PASSWORD, "viewer"), ("ada", "short", "viewer"), ("ada", PASSWORD, "king")]
)
def test_unfit_people_are_refused_with_what_to_do(store: Store, name: str, password: str, role: str) -> None:
    with pytest.raises(UsageFault) as told:
        people.set_password(store, name, password, role)
    assert told.value.mend


def test_login_and_logout_are_audited_and_change_who_is_there(client: FlaskClient, store: Store) -> None:
    assert "Log in" in client.get("/").text
    assert log_in(client) == 303
    assert "Log out" in client.get("/").text
    assert client.post("/logout", data={"csrf": token(client, "/")}).status_code == 303
    assert "Log out" not in client.get("/").text
    assert [act.act for act in store.acts()] == ["logout", "login"]


def test_a_wrong_password_is_told_and_audited_and_sets_no_session(client: FlaskClient, store: Store) -> None:
    assert log_in(client, password="wrong wrong wrong") == 403
    assert "Log out" not in client.get("/").text
    assert [act.act for act in store.acts()] == ["login-failed"]


def test_guessing_is_slowed_down_even_for_the_right_password(client: FlaskClient) -> None:
    for _ in range(auth.GUESSES_BY_ADDRESS):
        assert log_in(client, password="wrong wrong wrong") == 403
    assert log_in(client) == 429


def test_guesses_are_forgotten_with_time() -> None:
    clock = [0.0]
    guesses = auth.Guesses(lambda: clock[0])
    guesses.wrong(["a", "a"])
    assert guesses.wait({"a": 2}) == auth.WINDOW_SECONDS
    assert guesses.wait({"a": 3, "b": 1}) == 0
    clock[0] = auth.WINDOW_SECONDS
    assert guesses.wait({"a": 1}) == 0


@pytest.mark.parametrize("target", HOSTILE_TARGETS)
def test_a_login_never_leads_elsewhere(client: FlaskClient, target: str) -> None:
    form = {"csrf": token(client), "name": "ada", "password": PASSWORD, "next": target}
    assert client.post("/login", data=form).headers["Location"] == "/"
    assert client.get("/login", query_string={"next": target}).headers["Location"] == "/"


def test_a_login_leads_back_to_where_one_wanted_to_go(client: FlaskClient) -> None:
    asked = client.get("/hosts/web/rollback?to=3")
    assert asked.headers["Location"] == "/login?next=/hosts/web/rollback?to%3D3"
    form = {"csrf": token(client), "name": "ada", "password": PASSWORD, "next": "/hosts/web/rollback?to=3"}
    assert client.post("/login", data=form).headers["Location"] == "/hosts/web/rollback?to=3"


def test_nobody_to_log_in_is_told_how_to_make_one(config: Config) -> None:
    made = create_app(config)
    assert "toto init" in made.test_client().get("/login").text
    made.extensions[KEY].close()


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_a_forged_post_does_nothing(client: FlaskClient, store: Store, headers: dict[str, str]) -> None:
    log_in(client)
    good = token(client, "/")
    data = {"csrf": good if headers else "wrong", "why": "forged"}
    before = len(store.acts())
    for path in ("/hosts/web/hold", "/hosts/web/rebuild", "/runs/1/cancel", "/logout"):
        assert client.post(path, data=data, headers=headers).status_code == 403
    assert client.post("/api/v1/hosts/web/hold", data=data, headers=headers).status_code == 403
    assert len(store.acts()) == before


def test_a_token_of_another_session_is_no_token(app: Flask, client: FlaskClient) -> None:
    log_in(client)
    other = app.test_client()
    assert client.post("/hosts/web/hold", data={"csrf": token(other), "why": "x"}).status_code == 403


def test_who_may_only_look_cannot_act(client: FlaskClient) -> None:
    assert log_in(client, "vic") == 303
    assert client.get("/hosts/web/rebuild").status_code == 403
    headers = {"X-CSRF-Token": token(client, "/")}
    assert client.post("/api/v1/hosts/web/hold", json={"why": "x"}, headers=headers).status_code == 403


def test_acts_want_a_person(client: FlaskClient) -> None:
    assert client.post("/api/v1/hosts/web/rebuild").status_code == 401
    posted = client.post("/hosts/web/rebuild", data={"csrf": token(client)})
    assert posted.headers["Location"].startswith("/login")


def test_a_changed_password_ends_older_sessions(client: FlaskClient, store: Store) -> None:
    log_in(client)
    people.set_password(store, "ada", PASSWORD + " new")
    assert "Log out" not in client.get("/").text


def test_the_session_cookie_is_not_for_scripts_and_secure_on_https(config: Config, client: FlaskClient) -> None:
    cookie = client.get("/login").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    made = create_app(Config(data=config.data, url="https://toto.lan"))
    answer = made.test_client().get("/login", base_url="https://toto.lan")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "Strict-Transport-Security" in answer.headers
    made.extensions[KEY].close()


def test_the_secret_is_made_once_and_ours_alone(config: Config) -> None:
    first = auth.secret_key(config)
    assert len(first) == 32
    assert auth.secret_key(config) == first
    assert stat.S_IMODE(config.folder("keys", "web", "secret").stat().st_mode) == 0o600
