"""A PostgreSQL server of a test's own: on the loopback interface, by an ordinary user, gone when the test is."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from pretended import wait_until


class Server(NamedTuple):
    """Where it is, and who may come in."""

    address: str
    environment: dict[str, str]


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a server within this block; skips the test where none can be."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ.get("PATH", "").split(os.pathsep))]
    found = [folder for folder in programs if (folder / "initdb").is_file() and (folder / "postgres").is_file()]
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    user = "nobody" if os.geteuid() == 0 else None  # the server refuses to be root
    folder = Path(tempfile.mkdtemp(prefix="postgresql"))
    try:
        password = secrets.token_hex(8)
        (folder / "password").write_text(password)
        if user:
            shutil.chown(folder, user)
            shutil.chown(folder / "password", user)
        made = subprocess.run(
            [found[0] / "initdb", "-D", folder / "data", "-U", "searcher", "-A", "scram-sha-256", "-N",
             f"--pwfile={folder / 'password'}"],
            user=user, cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        said = (folder / "log").open("w")
        server = subprocess.Popen(
            [found[0] / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder,
             "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
            user=user, cwd=folder, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            wait_until(lambda: "ready to accept connections" in (folder / "log").read_text())
            environment = {"PGUSER": "searcher", "PGPASSWORD": password}
            yield Server(f"postgresql+psycopg://127.0.0.1:{port}/postgres", environment)
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for those that are still connected
            server.wait()
            said.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
