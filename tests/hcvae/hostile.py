"""Damaged files, and what a process is watched for that reads them."""

import resource
import signal
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SECONDS, MAX_BYTES = 30, 2**30
HOSTILE = [b"999999999999", b"-1", b"nan", b"1e308", b"../../../etc/passwd", b"/etc/passwd", b"\0", b"", b"\xff\xfe"]
FORBIDDEN = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")
ROOT = Path(__file__).resolve().parents[2]


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """`content` cut short, with other bytes, with lines lost or twice, or with a hostile word."""
    kind = random.integers(6)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        damaged = bytearray(content)
        for at in random.integers(len(content), size=random.integers(1, 30)):
            damaged[at] = random.integers(256)
        return bytes(damaged)
    if kind == 2:  # the header, where the sizes are
        damaged = bytearray(content)
        for at in random.integers(min(600, len(content)), size=3):
            damaged[at] ^= 1 << random.integers(8)
        return bytes(damaged)
    lines = content.split(b"\n")
    at = int(random.integers(len(lines)))
    if kind == 3:
        return b"\n".join(lines[:at] + lines[at + 1 :])
    if kind == 4:
        return b"\n".join([*lines[: at + 1], *lines[at:]])
    start = int(random.integers(min(3000, len(content))))
    word = HOSTILE[random.integers(len(HOSTILE))]
    return content[:start] + word + content[start + len(word) :]


class Watch:
    """Notes what this process opens outside `folder`, Python and the checkout, and what it runs, from now on."""

    def __init__(self, folder: Path) -> None:
        places = (folder.resolve(), sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"], ROOT)
        self._allowed = (*map(str, places), "/proc/self", "/dev")
        self.harm: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if not str(Path(path).absolute()).startswith(self._allowed):
                self.harm.append(path)
        elif event in FORBIDDEN:
            self.harm.append(f"{event} {arguments}")


@contextmanager
def deadline() -> Iterator[None]:
    """`SECONDS` for what is inside; the process dies of SIGALRM after that."""
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)


def limit_memory() -> None:
    """From now on, memory that would make the process larger than `MAX_BYTES` is refused."""
    virtual, resident, *_ = map(int, Path("/proc/self/statm").read_text().split())
    resource.setrlimit(resource.RLIMIT_AS, ((virtual - resident) * resource.getpagesize() + MAX_BYTES,) * 2)


def peak_bytes() -> int:
    """The largest size that this process has had, without that of the process which started it (as ru_maxrss has)."""
    status = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in status if line.startswith("VmHWM")]
    return 1024 * int(peak)
