"""The SDK's transport over ``requests``, with one session for all threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import stripe
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60

CONNECTIONS_MAX = 32
"""Connections kept open to one address: more threads than that never call at once."""


class _Session(requests.Session):
    """A session that reads the environment once for each address, not for each request.

    Looking for proxies there costs as much processor time as all the rest of a small request. No
    password is taken from a ``.netrc`` file: the key is the only one that Stripe shall see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self._proxies_by_host: dict[str, Mapping[str, str]] = {}
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS_MAX))

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return the settings of a request, with the environment's proxies for its address."""
        host = urlsplit(url).netloc
        if host not in self._proxies_by_host:
            self._proxies_by_host[host] = get_environ_proxies(url)
        return {
            "proxies": {**self._proxies_by_host[host], **(proxies or {})},
            "stream": bool(stream),
            "verify": verify,
            "cert": cert,
        }


def new_session() -> requests.Session:
    """Return a session that several threads may share."""
    return _Session()


def new_transport() -> stripe.RequestsClient:
    """Return the SDK's client for ``requests``, over a session of ours."""
    return stripe.RequestsClient(
        timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS), session=new_session()
    )
