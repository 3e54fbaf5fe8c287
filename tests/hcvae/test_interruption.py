"""Real signals to small programs: one line and exit code 130, whatever they are doing."""

import signal
import subprocess
import sys
import time

import pytest

from hcvae.interruption import sigterm_as_ctrl_c

START = """
import sys, time
from hcvae import command_line, interruption
interruption.GRACE_S = 1
interruption.guard_program()
def ready():
    print("ready", flush=True)
"""
END = "sys.exit(command_line.main(program))"
WHILE_IT_IMPORTS = "ready(); time.sleep(60)\n"
AT_WORK = """
def program(_):
    try:
        ready()
        time.sleep(60)
    finally:
        time.sleep(0.5)
        print("cleaned up")
"""
IN_C_CODE = """
import hashlib
def program(_):
    ready()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
CLEANING_UP_FOR_EVER = """
def program(_):
    try:
        ready()
        time.sleep(60)
    finally:
        time.sleep(60)
"""
IN_A_CALLBACK = """
class Slow:
    def __del__(self):
        ready()
        time.sleep(2)
def program(_):
    Slow()
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (WHILE_IT_IMPORTS, ""),
        (AT_WORK, "cleaned up\n"),
        (IN_C_CODE, ""),
        (CLEANING_UP_FOR_EVER, ""),
        (IN_A_CALLBACK, ""),
    ],
)
def test_a_signal_ends_a_program_with_130_and_one_line(program: str, printed: str, number: signal.Signals) -> None:
    command = [sys.executable, "-c", f"{START}{program}{END}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(number)  # an impatient one
        out, said = process.communicate(timeout=30)
    assert (process.returncode, out, said) == (130, printed, "interrupted\n")


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_acts_as_ctrl_c_and_its_handler_is_restored(handler: object) -> None:
    before, interrupt = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    try:
        with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert signal.getsignal(signal.SIGTERM) is before
