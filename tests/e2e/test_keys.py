"""Keys, lateness and derived ids by the command line, beside a server that runs."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tallystick.cli.local_servers import LocalServer
from tallystick.domain.derived_ids import derived_id
from tallystick.domain.instants import DAY_US, HOUR_US, parse_instant
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from tallystick.config import Settings

TIME = "2015-05-18T10:20:30Z"
EVENT = {"type": "http_request", "customer": "acme", "time": TIME}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A new installation, without Stripe."""
    environment = {"TALLYSTICK_DATABASE_URL": f"sqlite:///{tmp_path / 'keys.db'}"}
    answer_of("init", environment=environment)
    return environment


def lasts(made: dict[str, Any]) -> int:
    return parse_instant(made["expires_at"]) - parse_instant(made["created_at"])


def test_a_key_is_made_with_what_it_may_do(environment: dict[str, str]) -> None:
    plain = tallystick("keys", "create", "production", environment=environment)
    assert plain.returncode == 0
    assert plain.stdout.startswith("tsk_")
    assert len(plain.stdout.split()) == 1
    made = answer_of(
        *("keys", "create", "edge", "--scope", "ingest", "--scope", "operate"),
        *("--source", "eu", "--expires", "90d"),
        environment=environment,
    )
    assert made["key"].startswith("tsk_")
    assert (made["scopes"], made["source"]) == (["ingest", "operate"], "eu")
    assert 0 <= 90 * DAY_US - lasts(made) < HOUR_US
    short = answer_of("keys", "create", "short", "--expires", "12h", environment=environment)
    assert 0 <= 12 * HOUR_US - lasts(short) < HOUR_US
    named = answer_of("keys", "create", "long", "--expires", "2199-01-01", environment=environment)
    assert named["expires_at"] == "2199-01-01T00:00:00Z"

    listed = answer_of("keys", "list", environment=environment)["keys"]
    assert [key["name"] for key in listed] == ["production", "edge", "short", "long"]
    assert listed[0]["scopes"] == ["ingest", "read"]
    assert listed[1] == {name: value for name, value in made.items() if name != "key"}
    shown = tallystick("keys", "list", environment=environment).stdout
    assert "production" in shown
    assert "tsk_" not in shown + json.dumps(listed)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", " "), "name_missing"),
        (("create", "x", "--scope", "root"), "unknown_scope"),
        (("create", "x", "--expires", "soon"), "invalid_expiry"),
        (("create", "x", "--expires", "2001-01-01"), "expiry_passed"),
        (("create", "x", "--source", ""), "source_invalid"),
        (("revoke", "nobody"), "key_not_found"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    environment: dict[str, str], arguments: tuple[str, ...], code: str
) -> None:
    refused = tallystick("keys", *arguments, "--json", environment=environment)
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == code


def test_a_running_server_follows_what_is_decided_beside_it(
    stripe_settings: Settings, tmp_path: Path
) -> None:
    environment = environment_of(stripe_settings)
    answer_of("init", environment=environment)
    catalog = CATALOG_FILE.read_text("utf-8")
    declared = tmp_path / "catalog.yaml"
    declared.write_text(catalog + "\nsources:\n  cron: {derive_ids: true}\n", "utf-8")
    applied = tallystick("apply", str(declared), environment=environment)
    assert applied.returncode == 0
    assert "sources.cron.derive_ids: two real events" in applied.stderr
    made = answer_of("keys", "create", "test", environment=environment)
    rows = tmp_path / "rows.ndjson"
    rows.write_text(
        "\n".join(json.dumps({**EVENT, **more}) for more in ({"source": "cron"}, {})), "utf-8"
    )
    headers = {"Authorization": f"Bearer {made['key']}"}
    with (
        LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server,
        httpx2.Client(base_url=server.url, headers=headers, timeout=PATIENCE_SECONDS) as client,
    ):
        imported = tallystick(
            *("import", str(rows), "--report", "--url", server.url, "--key", made["key"], "--json"),
            environment=environment,
        )
        tally = json.loads(imported.stdout)
        assert (tally["accepted"], tally["refused"], imported.returncode) == (1, 1, 1)
        assert "id_missing" in Path(tally["refused_file"]).read_text("utf-8")
        sent = client.post("/v1/events", json={**EVENT, "id": "1"}).json()
        assert sent["accepted"] == 1

        give_up_at = time.monotonic() + PATIENCE_SECONDS
        with closing(sqlite3.connect(stripe_settings.sqlite_path())) as connection:
            counted = "SELECT SUM(event_count) FROM event_delays"
            while connection.execute(counted).fetchone()[0] != 2:
                assert time.monotonic() < give_up_at, "the server counts no delays by itself"
                time.sleep(0.05)
        shown = answer_of("lateness", "--meter", "api_requests", environment=environment)
        (meter,) = shown["meters"]
        assert meter["events"] == meter["late"] > 0
        assert meter["late_share"] == "1"
        assert client.get("/v1/lateness?meter=api_requests").json()["meters"] == [meter]
        assert "api_requests" in tallystick("lateness", environment=environment).stdout

        (listed,) = answer_of("keys", "list", environment=environment)["keys"]
        assert listed["last_used_at"] is not None
        revoked = answer_of("keys", "revoke", "test", environment=environment)
        assert (revoked["id"], revoked["status"]) == (made["id"], "revoked")
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while (refused := client.get("/v1/outbox")).status_code == 200:
            assert time.monotonic() < give_up_at, "the key is not refused"
            time.sleep(0.05)
        assert refused.json()["code"] == "key_revoked"
    derived = derived_id("cron", "http_request", "acme", parse_instant(TIME))
    why = ("--actor", "ann", "--reason", "a test")
    voided = answer_of("events", "void", derived, "--source", "cron", *why, environment=environment)
    assert voided["status"] == "corrected"
