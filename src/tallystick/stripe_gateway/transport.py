"""The SDK's transport, straight over ``urllib3``, with one pool of connections for all threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import stripe
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60

CONNECTIONS_MAX = 32
"""Connections kept open to one address: more threads than that never call at once."""

_ENCODINGS = {"Accept-Encoding": "gzip, deflate"}


class Transport(stripe.HTTPClient):
    """Sends what the SDK gives it, once. Thread-safe.

    ``requests``, which the SDK would use, stands on ``urllib3`` too. What it adds for every request
    (cookies, redirects, the environment, a ``.netrc``) is nothing that Stripe needs, and took half
    of the processor time of a small call. Certificates are checked against the SDK's own list.
    """

    name = "urllib3"

    def __init__(self) -> None:
        super().__init__()
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
        self._settings: dict[str, Any] = {
            "ca_certs": stripe.ca_bundle_path,
            "cert_reqs": "CERT_REQUIRED",
        }
        self._direct = urllib3.PoolManager(maxsize=CONNECTIONS_MAX, **self._settings)
        self._proxies = HTTPAdapter(pool_maxsize=CONNECTIONS_MAX)
        self._ways: dict[str, urllib3.PoolManager] = {}

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[Any, int, Mapping[str, str]]:
        """Send one request and return the answer's body, status and headers, whatever it says.

        Raises:
            stripe.APIConnectionError: no whole answer came.
        """
        try:
            answer = self.way_to(url).urlopen(
                method.upper(),
                url,
                body=post_data,
                headers={**_ENCODINGS, **(headers or {})},
                timeout=self._timeout,
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]  # the SDK's
                f"There was no answer from Stripe: {type(error).__name__}: {error}"
            ) from error
        return answer.data, answer.status, answer.headers

    def way_to(self, url: str) -> urllib3.PoolManager:
        """Return what connects to the address: through the proxy that the environment names for it.

        The environment is read once for each address: that costs as much processor time as all the
        rest of a small request.
        """
        host = urlsplit(url).netloc
        way = self._ways.get(host)
        if way is None:
            proxy = select_proxy(url, get_environ_proxies(url))
            way = self._direct
            if proxy:
                way = self._proxies.proxy_manager_for(proxy, **self._settings)
            self._ways[host] = way
        return way

    def close(self) -> None:
        """Close the connections that are idle."""
        self._direct.clear()
        self._proxies.close()
