"""Pages for browsers on this machine: a web application in a thread of this process, until Ctrl-C."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hcvae.errors import UserError
from hcvae.interruption import SIGNALS, handled

HOST = "127.0.0.1"
"""Nobody is asked for a password, so nobody on another machine may connect."""


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    with handled(lambda *_: stopped.set(), *SIGNALS):
        yield stopped


@contextmanager
def serving(application: Callable[..., Any], port: int) -> Iterator[str]:
    """The address at which the WSGI `application` is served; port 0 takes a free one.

    Raises:
        UserError: the port is taken.
    """
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line a request
    with _listen(port) as listening:
        server = make_server(HOST, listening.getsockname()[1], application, threaded=True, fd=listening.fileno())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        thread.join()  # it closes the port on its way out


def _listen(port: int) -> socket.socket:
    # Here, because werkzeug would print advice and end the process where it cannot.
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(f"--port: cannot listen on port {port}: {error.strerror}; name another, or none") from None
