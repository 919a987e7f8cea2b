"""TensorBoard on this machine's loopback, for as long as somebody looks at it."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import Browser

SECONDS = 60
DEEP = """
(() => {
    const found = [];
    const walk = root => {
        for (const each of root.querySelectorAll("*")) {
            if (each.matches(%s) && each.getBoundingClientRect().width > 0) found.push(each);
            if (each.shadowRoot) walk(each.shadowRoot);
        }
    };
    walk(document);
    return %s;
})()
"""
"""What is shown and matches a selector, at whatever depth: the pages are components within components."""


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address at which TensorBoard shows a folder, once it has read the first run in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("tensorboard")
    address = f"http://127.0.0.1:{port}/"
    server = subprocess.Popen(
        [program, "--logdir", folder.name, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder.parent,  # the pages show what was typed
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + SECONDS
        while not _runs(address):
            assert server.poll() is None, "TensorBoard has ended"
            assert time.monotonic() < end, "TensorBoard shows no run"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def wait_for(browser: Browser, selector: str, count: int = 1, of: str = "true") -> None:
    """Wait until so many elements are shown that match a selector and fulfil a condition on `e` in JavaScript."""
    end = time.monotonic() + SECONDS / 3
    expression = DEEP % (json.dumps(selector), f"found.filter(e => {of}).length")
    while (found := browser.evaluate(expression)) < count:
        assert time.monotonic() < end, f"{found} of {count} {selector} are shown"
        time.sleep(0.1)


def texts(browser: Browser, selector: str) -> list[str]:
    """What is written in those elements that match a selector, where anything is."""
    words: list[str] = browser.evaluate(DEEP % (json.dumps(selector), "found.map(e => e.innerText.trim())"))
    return list(filter(None, words))


def _runs(address: str) -> list[str]:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}data/runs") as answer:
            runs: list[str] = json.load(answer)
    except OSError:
        return []
    return runs
