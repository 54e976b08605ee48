"""Backups of a live database, and what is made of them."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from tallystick.cli.local_servers import LocalServer
from tallystick.client.connection import ServerConnection
from tallystick.config import Settings
from tallystick.wiring import Tallystick
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE
from tests.fixtures.stripe_account import environment_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_backup_under_load_holds_one_sound_moment(
    stripe_settings: Settings, tmp_path: Path
) -> None:
    environment = environment_of(stripe_settings)
    answer_of("init", environment=environment)
    answer_of("apply", str(CATALOG_FILE), environment=environment)
    key = answer_of("keys", "create", "test", environment=environment)["key"]
    acknowledged: list[int] = []
    stopping = threading.Event()

    def send(url: str) -> None:
        connection = ServerConnection(url, key)
        while not stopping.is_set():
            batch = [
                json.dumps(
                    {
                        "id": f"{len(acknowledged)}-{number}",
                        "type": "http_request",
                        "customer": f"c{number % 7}",
                        "time": "2015-05-18T10:00:00Z",
                        "value": number,
                    }
                ).encode()
                for number in range(50)
            ]
            connection.post_events(batch)
            acknowledged.append(len(batch))
        connection.close()

    copy = tmp_path / "copy.db"
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        sender = threading.Thread(target=send, args=(server.url,))
        sender.start()
        while len(acknowledged) < 5:
            stopping.wait(0.01)
        before = sum(acknowledged)
        copied = answer_of("backup", str(copy), environment=environment)
        stopping.set()
        sender.join()
    assert before <= copied["events"] <= sum(acknowledged) + 50

    restored = {
        **environment,
        "TALLYSTICK_DATABASE_URL": f"sqlite:///{tmp_path / 'restored.db'}",
    }
    answer = answer_of("restore", str(copy), environment=restored)
    assert copied["events"] == answer["events"]
    assert tallystick("verify", "--no-stripe", environment=restored).returncode == 0
    with Tallystick(Settings(database_url=restored["TALLYSTICK_DATABASE_URL"])) as product:
        assert copied["events"] == product.events.count()

    for command in (("backup", str(copy)), ("restore", str(copy))):
        refused = tallystick(*command, "--json", environment=restored)
        assert refused.returncode == 3
        assert "is there already" in refused.stdout


def test_what_is_no_backup_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    environment = {"TALLYSTICK_DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"}
    refused = tallystick("restore", str(broken), "--json", environment=environment)
    assert refused.returncode == 3
    assert json.loads(refused.stdout)["error"]["code"] == "store_unusable"
    assert [path.name for path in tmp_path.iterdir()] == ["broken.db"]
