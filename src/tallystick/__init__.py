"""Tallystick: metered billing for SaaS teams on Stripe."""

from __future__ import annotations

__version__ = "0.1.0"
