"""The commands on PostgreSQL: chosen by the address alone, several processes on one database."""

from __future__ import annotations

import gzip
import json
import shutil
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tallystick.cli.local_servers import LocalServer
from tallystick.cli.works import READY
from tallystick.client.connection import ServerConnection
from tests.fixtures.commands import answer_of, tallystick
from tests.fixtures.paths import CATALOG_FILE, EXAMPLE, LOG_FILE
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.config import Settings

LOG_LINES = 150
DEMOS_SECONDS_MAX = 1_800


def with_password(url: str) -> str:
    return url.replace("tallystick@", "tallystick:hunter2@")


def test_the_commands_work_and_show_no_password(postgres_url: str, tmp_path: Path) -> None:
    environment = {"TALLYSTICK_DATABASE_URL": with_password(postgres_url)}
    made = answer_of("init", environment=environment, folder=tmp_path)
    assert made["database"] == postgres_url
    looked = tallystick("doctor", environment=environment, folder=tmp_path)
    assert "0 events" in looked.stdout
    assert "hunter2" not in looked.stdout + looked.stderr
    assert answer_of("verify", environment=environment, folder=tmp_path)["ok"]
    for command in ("backup", "restore"):
        (tmp_path / "some").touch()
        refused = tallystick(command, "some", "--json", environment=environment, folder=tmp_path)
        error = json.loads(refused.stdout)["error"]
        assert (refused.returncode, error["code"]) == (2, "not_supported")
        assert "pg_dump" in error["message"]
        assert "hunter2" not in refused.stdout


def test_a_server_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    address = f"postgresql://tallystick:hunter2@127.0.0.1:{free_port()}/nowhere"
    failed = tallystick("verify", environment={"TALLYSTICK_DATABASE_URL": address}, folder=tmp_path)
    assert failed.returncode == 3
    assert "store_unavailable" in failed.stderr
    assert "hunter2" not in failed.stderr


def test_servers_without_workers_and_a_worker_share_a_database(
    postgres_url: str, stripe_settings: Settings, tmp_path: Path
) -> None:
    environment = {
        "TALLYSTICK_DATABASE_URL": postgres_url,
        "TALLYSTICK_STRIPE_API_KEY": stripe_settings.stripe_api_key or "",
        "TALLYSTICK_STRIPE_API_BASE": stripe_settings.stripe_api_base or "",
    }
    answer_of("init", environment=environment)
    answer_of("apply", str(CATALOG_FILE), environment=environment)
    key = answer_of("keys", "create", "both", environment=environment)["key"]
    sent = {"id": "1", "type": "http_request", "customer": "acme", "time": "2026-01-01T00:00:00Z"}
    event = json.dumps(sent).encode()
    arguments = ["serve", "--no-workers", "--port", "0"]
    with (
        LocalServer("first", arguments, environment, tmp_path) as first,
        LocalServer("second", arguments, environment, tmp_path) as second,
        LocalServer("worker", ["worker"], environment, tmp_path, ready=READY) as worker,
    ):
        answers = []
        for api in (first, second):
            with closing(ServerConnection(api.url, key)) as connection:
                answers.append(connection.post_events([event]))
        assert worker.url == postgres_url
    assert [(one.accepted, one.duplicates) for one in answers] == [(1, 0), (0, 1)]


@pytest.mark.slow
@pytest.mark.timeout(DEMOS_SECONDS_MAX)
def test_a_short_demo_prints_the_same_on_both_databases_and_by_the_client_library(
    tmp_path: Path,
) -> None:
    example = tmp_path / "example"
    shutil.copytree(EXAMPLE, example)
    with gzip.open(LOG_FILE, "rb") as whole, gzip.open(example / LOG_FILE.name, "wb") as part:
        part.writelines(islice(whole, LOG_LINES))
    printed = set()
    for sent in ([], ["--client"]):
        with fresh_database() as url:
            for stored in ([], ["--database-url", url]):
                options = ("--example", str(example), *stored, *sent)
                done = tallystick("demo", *options, seconds_max=DEMOS_SECONDS_MAX)
                assert done.returncode == 0, done.stdout + done.stderr
                printed.add(done.stdout)
    (once,) = printed
    assert f"{LOG_LINES} accepted" in once
    assert "0 of " in once.splitlines()[-1]
