"""The examples of docs/client.md, run against a real server, and what the page says of them."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import tallystick
from tests.client.test_recorder import Installation
from tests.fixtures.paths import ROOT
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.config import Settings

PAGE = (ROOT / "docs" / "client.md").read_text("utf-8")


def test_the_examples_run(stripe_settings: Settings, tmp_path: Path) -> None:
    installation = Installation(stripe_settings, tmp_path)
    first, second = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with installation.serve() as server:
        first = first.replace("http://127.0.0.1:8787", server.url)
        first = first.replace("tsk_...", installation.key)
        first = first.replace("/var/lib/myapp/usage", str(installation.spool))
        names: dict[str, Any] = {"app": None, "wsgi_app": None}
        exec(first + second.replace("prompt): ...", "prompt): return prompt"), names)
        client: tallystick.Client = names["client"]
        assert names["complete"]("acme", "hello") == "hello"
        assert client.close(PATIENCE_SECONDS)
    metrics = client.metrics
    # the catalog has no meter for tokens: the server refuses those, and they are kept
    assert (metrics.recorded, metrics.accepted, metrics.rejected) == (2, 1, 1)
    assert type(names["app"]) is tallystick.AsgiMetering
    assert type(names["wsgi_app"]) is tallystick.WsgiMetering


def test_every_metric_is_documented() -> None:
    for field in dataclasses.fields(tallystick.ClientMetrics):
        assert f"`{field.name}`" in PAGE
