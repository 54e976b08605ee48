"""One HTTP POST to a webhook endpoint, on asyncio streams."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit


async def post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> int | None:
    """Send a request and return the status, or None when there was no answer in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(url, body, headers)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return None


async def _exchange(url: str, body: bytes, headers: dict[str, str]) -> int:
    target = urlsplit(url)
    secure = target.scheme == "https"
    port = target.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(target.hostname, port, ssl=context)
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {target.netloc.rpartition('@')[2]}",
            "Connection: close",
            "Content-Type: application/json; charset=utf-8",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()
        status_line = await reader.readline()
        return int(status_line.split(b" ", 2)[1])
    except IndexError:
        raise ValueError("no HTTP answer") from None
    finally:
        writer.close()
