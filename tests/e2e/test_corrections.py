"""Corrections by the command line, beside a server that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from tallystick.cli.local_servers import LocalServer
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.config import Settings

EVENT = {"type": "http_request", "customer": "acme", "time": "2015-05-18T10:20:30Z"}
WHY = ("--actor", "ann", "--reason", "a test")
MAY = "/v1/customers/acme/usage?from=2015-05-01T00:00:00Z&to=2015-06-01T00:00:00Z"


@pytest.fixture
def environment(stripe_settings: Settings) -> dict[str, str]:
    """A new installation with the example's catalog."""
    environment = environment_of(stripe_settings)
    answer_of("init", environment=environment)
    answer_of("apply", str(CATALOG_FILE), environment=environment)
    return environment


def test_a_running_server_counts_what_was_corrected_beside_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    key = answer_of("keys", "create", "test", environment=environment)["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with (
        LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server,
        httpx2.Client(base_url=server.url, headers=headers, timeout=PATIENCE_SECONDS) as client,
    ):

        def sent(*ids: str) -> list[str]:
            events = [{**EVENT, "id": event_id, "value": 100} for event_id in ids]
            answer = client.post("/v1/events", json=events).json()
            return [result["status"] for result in answer["results"]]

        def measured() -> list[str]:
            return [meter["quantity"] for meter in client.get(MAY).json()["usage"]]

        assert sent("a", "b", "c") == ["accepted"] * 3
        voided = answer_of("events", "void", "a", *WHY, environment=environment)
        assert voided["status"] == "corrected"
        replaced = answer_of("events", "replace", "b", "7", *WHY, environment=environment)
        assert replaced["status"] == "corrected"
        assert measured() == ["2", "107"]
        assert sent("d", "a") == ["accepted", "duplicate"]
        assert measured() == ["3", "207"]
        again = answer_of("events", "void", "a", *WHY, environment=environment)
        assert again["status"] == "unchanged"
    assert tallystick("verify", "--no-stripe", environment=environment).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("void", "nobody", *WHY), "event_not_found"),
        (("replace", "a", "NaN", *WHY), "value_not_finite"),
        (("replace", "a", "0.5", *WHY), "value_too_many_decimals"),
        (("void", "a", "--actor", " ", "--reason", "x"), "actor_missing"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_by_name(
    environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text(
        '{"id":"a","type":"http_request","customer":"acme","time":"2015-05-18T10:20:00Z"}'
    )
    key = answer_of("keys", "create", "test", environment=environment)["key"]
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        sent = ("--report", "--url", server.url, "--key", key)
        answer_of("import", str(events), *sent, environment=environment)
    refused = tallystick("events", *arguments, "--json", environment=environment)
    assert (refused.returncode, code in refused.stdout) == (2, True), refused.stdout
