"""Settings that cannot be are refused by name, with what is needed instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallystick.config import ConfigError, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "http", "TALLYSTICK_PORT is 'http'; a whole number is needed"),
        ("STRIPE_RATE", "fast", "TALLYSTICK_STRIPE_RATE is 'fast'; a whole number is needed"),
        ("STRIPE_METER_EVENTS", "all", "it can be meter_events or meter_event_stream"),
        ("PORT", "65536", "0 to 65535 are ports"),
        ("DATABASE_URL", "mysql://db/x", "postgresql://USER:PASSWORD@HOST/DATABASE"),
    ],
)
def test_a_wrong_value_in_the_environment_is_named(
    tmp_path: Path, name: str, value: str, told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({f"TALLYSTICK_{name}": value}, tmp_path)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot: 1", "prot: there is no such setting; port is meant, perhaps"),
        ("xyzzy: 1", "xyzzy: there is no such setting; docs/reference.md lists them"),
        ("port: http", "port is 'http'; a whole number is needed"),
        ("host: 1", "host is 1; a text is needed"),
        ("webhook_secrets: 5", "webhook_secrets is not such a value; a list of texts is needed"),
        ("port: [", "is not valid YAML: while parsing"),
        ("- port", "settings with their values are needed"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "tallystick.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_settings({}, tmp_path)
    message = str(refused.value)
    assert message.startswith(str(file))
    assert told in message
    assert "\n" not in message


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "tallystick.yaml").write_text("port: 1\nhost: 127.0.0.2\n")
    settings = load_settings({"TALLYSTICK_PORT": "2"}, tmp_path)
    assert (settings.port, settings.host) == (2, "127.0.0.2")
