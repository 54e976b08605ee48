"""How requests to Stripe travel: proxies of the environment, and what a stream's body is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stripe._encode import _api_encode

from tallystick.stripe_gateway.stream_sink import _Events
from tallystick.stripe_gateway.transport import new_session

if TYPE_CHECKING:
    import pytest

STRIPE = "https://api.stripe.com/v1/account"


def proxies(url: str) -> dict[str, str]:
    found: dict[str, str] = new_session().merge_environment_settings(url, {}, None, None, None)[
        "proxies"
    ]
    return found


def test_the_environments_proxy_is_used_but_for_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert proxies(STRIPE)["https"] == "http://proxy:3128"
    assert proxies("http://127.0.0.1:8080/v1/account") == {}


def test_the_environment_is_read_once_for_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    session = new_session()
    before = session.merge_environment_settings(STRIPE, {}, None, None, None)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert session.merge_environment_settings(STRIPE, {}, None, None, None) == before


def test_events_of_a_stream_are_json_and_not_encoded_as_a_form_too() -> None:
    """The official SDK encodes both, of which it sends one."""
    rows: list[dict[str, Any]] = [{"event_name": "calls", "payload": {"value": "1"}}] * 3
    assert json.loads(json.dumps({"events": _Events(rows)})) == {"events": rows}
    assert len(list(_api_encode({"events": rows}))) == 6
    assert len(list(_api_encode({"events": _Events(rows)}))) == 1
