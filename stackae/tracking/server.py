"""Waiting for a server, as long as it is there at all."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

# After so long, and again each time it has passed, a server is asked whether it is there.
DOUBT_SECONDS = 10.0
PROBE_SECONDS = 5.0
# Even from a server that is.
LONGEST_SECONDS = 120.0


class SilentServerError(Exception):
    """A server was waited for in vain."""


def wait_for(server: str, action: Callable[[], object], *, limit: float | None = None) -> None:
    """Carry out `action`, which needs the W&B server at the address `server`; raises what it raises.

    Gives up with `SilentServerError` after `limit` seconds or, without a limit, where the server does not
    answer. The action then goes on in a thread of its own, as it cannot be told to stop, and ends with
    the process. Ctrl-C gets through while it lasts.
    """
    faults: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as fault:  # raised below, or of no interest any more
            faults.append(fault)

    started = time.monotonic()
    worker = threading.Thread(target=act, daemon=True)
    worker.start()
    worker.join(DOUBT_SECONDS if limit is None else limit)
    while worker.is_alive():
        waited = time.monotonic() - started
        if limit is not None or waited > LONGEST_SECONDS or not answers(server):
            raise SilentServerError(f"no answer from {server} for {waited:.0f} s")
        worker.join(DOUBT_SECONDS)
    if faults:
        raise faults[0]


def answers(server: str) -> bool:
    """Tell whether the server takes a query and answers anything but that it is out of order."""
    query = urllib.request.Request(
        f"{server}/graphql", b'{"query": "{ viewer { id } }"}', {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(query, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as refusal:
        return refusal.code < 500
    except urllib.error.URLError as fault:
        # It is there; whether to trust its certificate is for W&B's settings to say.
        return isinstance(fault.reason, ssl.SSLCertVerificationError)
    except (OSError, http.client.HTTPException):
        return False
    return True
