"""The command: starting, stopping, the state file, and isolation from the product."""

from __future__ import annotations

import ast
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.patience import PATIENCE_SECONDS
from tests.sandbox.rig import HOUR_S, Rig, RunningSandbox, environment, instant

JAN, FEB = instant(2026, 1, 1), instant(2026, 2, 1)
PACKAGE = Path(__file__).parents[2] / "src" / "tallystick" / "sandbox"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tallystick.cli.main", "sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment(),
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_listens_and_stops_cleanly(how: signal.Signals) -> None:
    with RunningSandbox() as running:
        Rig.fresh(running.url, "stop").v1.customers.create({})
        assert running.stop(how) == 0


def test_a_taken_port_and_a_bad_state_file_are_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = run("--port", str(taken.getsockname()[1]))
    assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)
    assert "cannot listen on 127.0.0.1" in refused.stderr
    wrong = tmp_path / "state"
    wrong.write_text("not a state")
    bad = run("--port", "0", "--state", str(wrong))
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert "not a state file" in bad.stderr
    nowhere = run("--port", "0", "--state", str(tmp_path / "none" / "state"))
    assert nowhere.returncode == 2


def test_a_state_file_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with RunningSandbox("--state", state) as running:
        rig = Rig.fresh(running.url, "state")
        price = rig.price(rig.meter(), unit_amount=100, lookup_key="calls")
        clock = rig.clock(JAN)
        customer = rig.customer(clock)
        subscription = rig.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price.id}]}
        )
        rig.report(customer, 7, JAN, identifier="kept")
        assert running.stop() == 0
    with RunningSandbox("--state", state) as running:
        rig = Rig.fresh(running.url, "state")
        assert rig.v1.prices.list({"lookup_keys": ["calls"]}).data[0].id == price.id
        with pytest.raises(Exception, match="already exists with identifier kept"):
            rig.report(customer, 7, JAN, identifier="kept")
        rig.advance(clock, FEB + 2 * HOUR_S)
        assert rig.invoices(subscription)[-1].total == 700
        assert rig.v1.customers.create({}).id != customer.id
        running.stop(signal.SIGTERM)


def test_the_state_file_survives_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with RunningSandbox("--state", str(state)) as running:
        rig = Rig.fresh(running.url, "kill")
        customer = rig.v1.customers.create({"name": "Ada"})
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (state.exists() and customer.id.encode() in state.read_bytes()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.stop(signal.SIGKILL)
    with RunningSandbox("--state", str(state)) as running:
        rig = Rig.fresh(running.url, "kill")
        assert rig.v1.customers.retrieve(customer.id).name == "Ada"


def test_only_one_module_reads_the_clock_and_only_exact_numbers_are_shared() -> None:
    allowed = {"tallystick.domain.quantity", "tallystick.domain.money"}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
        } | {
            name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in node.names
        }
        ours = {name for name in imported if name.startswith("tallystick.")}
        outside = {name for name in ours if not name.startswith("tallystick.sandbox")}
        assert outside <= allowed, path
        assert "time" not in imported or path.name == "wallclock.py", path
        assert "datetime.now" not in path.read_text(), path
