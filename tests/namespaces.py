"""Machines that are not there: network namespaces of Linux, each with an address and a name of its own.

They share the disk, as nodes of a cluster do, and nothing else: what one of them listens to on its loopback interface,
no other can reach. They know their own names as Debian has it, by an address of the loopback interface (127.0.1.1), and
the others' by their real ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SUBNET = "10.213.77"


class Node:
    """A machine.

    Attributes:
        name: its host name.
        address: by which the other nodes reach it.
    """

    def __init__(self, space: str, number: int, hosts: Path) -> None:
        self.space = space
        self.name = f"node{number}"
        self.address = f"{SUBNET}.{number + 1}"
        self._hosts = hosts

    def start(self, command: list[str], cwd: Path, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command there, the first process of a group of its own; what it says goes to the end of a file."""
        becoming = f'hostname {self.name} && mount --bind "$0" /etc/hosts && exec "$@"'
        with log.open("ab") as said:
            return subprocess.Popen(
                [
                    "ip", "netns", "exec", self.space, "unshare", "--uts", "--mount",
                    "sh", "-c", becoming, str(self._hosts), *command,
                ],
                cwd=cwd, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                env=os.environ | environment, start_new_session=True,
            )  # fmt: skip

    def kill(self, *, but: bytes | None = None) -> None:
        """End all that runs there, at once; or all but the commands with a certain word in them."""
        for pid in _ip("netns", "pids", self.space).split():
            with suppress(ProcessLookupError, FileNotFoundError):
                if but is None or but not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)

    def cut_off(self) -> None:
        """Pull its cable: nothing that it says is heard any more, not even that a connection ends."""
        _ip("-n", self.space, "link", "set", "net", "down")

    def plug_in(self) -> None:
        """Put the cable back."""
        _ip("-n", self.space, "link", "set", "net", "up")


@contextmanager
def nodes(folder: Path, count: int = 2) -> Iterator[list[Node]]:
    """So many machines on one cable, for the time of this block; skips the test where they cannot be made.

    Args:
        folder: takes a file of host names for each.
        count: of machines.
    """
    _skip_unless_possible()
    bridge = f"vgg{os.getpid()}"
    made = [Node(f"{bridge}-{number}", number, folder / f"hosts{number}") for number in range(count)]
    try:
        _ip("netns", "add", bridge)  # the switch, out of the way of this machine's own network
        _ip("-n", bridge, "link", "add", "switch", "type", "bridge")
        _ip("-n", bridge, "link", "set", "switch", "up")
        for number, node in enumerate(made):
            names = [f"{other.address} {other.name}" for other in made if other is not node]
            (folder / f"hosts{number}").write_text("\n".join(["127.0.0.1 localhost", f"127.0.1.1 {node.name}", *names]))
            _ip("netns", "add", node.space)
            _ip(
                "-n", bridge, "link", "add", f"port{number}", "type", "veth", "peer", "name", "net", "netns", node.space
            )
            _ip("-n", bridge, "link", "set", f"port{number}", "master", "switch", "up")
            _ip("-n", node.space, "address", "add", f"{node.address}/24", "dev", "net")
            _ip("-n", node.space, "link", "set", "lo", "up")
            _ip("-n", node.space, "link", "set", "net", "up")
        yield made
    finally:
        for node in made:
            with suppress(subprocess.CalledProcessError):
                node.kill()
        for space in (*(node.space for node in made), bridge):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


def _skip_unless_possible() -> None:
    if sys.platform != "linux" or not all(shutil.which(each) for each in ("ip", "unshare", "mount", "hostname")):
        pytest.skip("network namespaces take Linux with ip, unshare, mount and hostname")
    if os.geteuid() != 0:
        pytest.skip("network namespaces take root")
    probe = f"vgg{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    _ip("netns", "delete", probe)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
