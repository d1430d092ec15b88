"""What a device tells systemd: that it is ready, that it gets on, that it ends. Source: sd_notify(3).

A watchdog is kept quiet only while the loop that predicts gets on: a reading that stays in hand for half of its time brings the
restart, an input that is silent does not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from edge_runtime.pulse import Pulse


@contextmanager
def notifying(pulse: Pulse, environment: Mapping[str, str]) -> Iterator[None]:
    """Tell whoever listens at $NOTIFY_SOCKET, if anybody does, for as long as this lasts."""
    address = environment.get("NOTIFY_SOCKET", "")
    ending = threading.Event()
    seconds = _watchdog(environment)
    _tell(address, "READY=1")
    if address and seconds:
        threading.Thread(target=_keep_quiet, args=(address, seconds, pulse, ending), name="notify", daemon=True).start()
    try:
        yield
    finally:
        ending.set()
        _tell(address, "STOPPING=1")


def _watchdog(environment: Mapping[str, str]) -> float:
    """Seconds without a word after which systemd kills this process; 0 if it does not."""
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if ours else 0.0


def _keep_quiet(address: str, seconds: float, pulse: Pulse, ending: threading.Event) -> None:
    while not ending.wait(seconds / 4):
        if pulse.stuck < seconds / 2:
            _tell(address, "WATCHDOG=1")


def _tell(address: str, what: str) -> None:
    if not address:
        return
    abstract = "\0" + address[1:] if address.startswith("@") else address
    # One socket a word and no error: systemd may begin anew meanwhile, and predictions go on without it.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(what.encode(), abstract)
