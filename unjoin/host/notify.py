"""Telling whoever started this process that it is ready: systemd's notify protocol.

Source: sd_notify(3). `unjoin up` speaks it to its parts; under systemd with Type=notify it works as well.
"""

import os
import socket


def notify_ready() -> None:
    """Says READY=1 to the socket that NOTIFY_SOCKET names, if any."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
