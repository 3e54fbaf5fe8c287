"""A web server for browsers on this machine, in a thread of this process."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hcvae.errors import UserError
from hcvae.interruption import SIGNALS, handled

HOST = "127.0.0.1"
"""Only this machine can connect, because there is no password."""


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    with handled(lambda *_: stopped.set(), *SIGNALS):
        yield stopped


@contextmanager
def serving(application: Callable[..., Any], port: int) -> Iterator[str]:
    """Serve the WSGI `application` and yield its address; port 0 takes a free port.

    Raises:
        UserError: the port is in use.
    """
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
    with _listen(port) as listening:
        server = make_server(HOST, listening.getsockname()[1], application, threaded=True, fd=listening.fileno())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        thread.join()  # at its end the port is closed


def _listen(port: int) -> socket.socket:
    # werkzeug itself would print advice and end the process on an error.
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        message = f"--port: cannot listen on port {port}: {error.strerror}; choose another port, or leave it out"
        raise UserError(message) from None
