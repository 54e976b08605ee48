"""The API versions that Tallystick speaks: the only place that names one."""

from __future__ import annotations

API_VERSION = "2026-10-28.endive"
"""Everything but usage records: the version of stripe-python 16.1, whose types describe it."""

USAGE_RECORDS_VERSION = "2025-02-24.acacia"
"""The last one with usage records and ``aggregate_usage``: legacy metered prices need it."""
