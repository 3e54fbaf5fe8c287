import signal
import socket
import urllib.request

import pytest

from hcvae.errors import UserError
from hcvae.local_server import serving, stop_signals


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def test_an_application_is_served_to_this_machine_while_it_is_open():
    with serving(application, 0) as address:
        with urllib.request.urlopen(f"{address}/hello", timeout=30) as answer:
            assert answer.read() == b"/hello"
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port: cannot listen on port {port}"), serving(application, port):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with stop_signals() as stopped:
        signal.raise_signal(number)
        assert stopped.wait(5)
    assert signal.getsignal(number) is before
