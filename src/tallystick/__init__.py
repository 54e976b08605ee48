"""Tallystick: metered billing for SaaS teams on Stripe."""

from __future__ import annotations

from tallystick.client.middleware import AsgiMetering, WsgiMetering, metered
from tallystick.client.recorder import Client, ClientMetrics
from tallystick.client.spool import SpoolFull

__version__ = "0.1.0"

__all__ = [
    "AsgiMetering",
    "Client",
    "ClientMetrics",
    "SpoolFull",
    "WsgiMetering",
    "__version__",
    "metered",
]
