"""How ranks that a launcher started, on one machine or several, find out that they are about to do the same."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import secrets
import socket
import struct
import time
from typing import Any

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from vgg_cifar.errors import RunError, UserError
from vgg_cifar.options import spelled

FOLDER = "folder"
"""The fact that tells by which file a rank knows the run's folder, rather than the value of an option."""
SECONDS_BETWEEN_LOOKS = 0.1
SIOCGIFADDR = 0x8915
"""Linux's request for an interface's address, of netdevice(7)."""


def meet(store: Store, rank: int, ranks: int, seconds: float) -> Store:
    """Wait until all ranks are here, and give them a part of the store that nobody has written to.

    torchrun keeps its store when it starts ranks again, and with it the addresses that ranks of before have left there.
    So every rank says hello by a word of its own, and rank 0 answers those that it hears with the name of the new part,
    until all have come to it.

    Args:
        store: that all ranks are connected to.
        rank: this process's.
        ranks: how many there are.
        seconds: to wait for the others.

    Raises:
        RunError: if they do not come.
    """
    until = time.monotonic() + seconds
    if rank:
        word = secrets.token_hex(8)
        store.set(f"hello/{rank}", word)
        part = PrefixStore(_awaited(store, f"welcome/{word}", until), store)
        part.set(f"here/{rank}", "")
        return part
    name = secrets.token_hex(8)
    part, missing = PrefixStore(name, store), set(range(1, ranks))
    while missing:
        for each in missing:
            if store.check([f"hello/{each}"]):
                store.set(f"welcome/{store.get(f'hello/{each}').decode()}", name)
        missing = {each for each in missing if not part.check([f"here/{each}"])}
        _rest(until, f"{len(missing)} of {ranks} ranks")
    return part


def agree(part: Store, rank: int, ranks: int, facts: dict[str, Any], main_address: str, seconds: float) -> str | None:
    """Compare what this rank is about to do with what rank 0 is.

    Args:
        part: what `meet` returned.
        rank: this process's.
        ranks: how many there are.
        facts: by the name of an option, in JSON's types.
        main_address: of rank 0's machine, as the launcher says it.
        seconds: to wait for the others.

    Returns:
        The address at which other machines reach rank 0's; None if all ranks are on one.

    Raises:
        UserError: on every rank, if one of them differs from rank 0.
        RunError: if the others do not answer.
    """
    until = time.monotonic() + seconds
    if rank == 0:
        part.set("facts", json.dumps(facts))
        answers = [json.loads(_awaited(part, f"answer/{each}", until)) for each in range(1, ranks)]
        verdict = {key: next((each[key] for each in answers if each[key]), None) for key in ("complaint", "address")}
        part.set("verdict", json.dumps(verdict))
    else:
        complaint = _complaint(json.loads(_awaited(part, "facts", until)), facts, rank)
        part.set(f"answer/{rank}", json.dumps({"complaint": complaint, "address": _abroad(main_address)}))
    verdict = json.loads(_awaited(part, "verdict", until))
    if verdict["complaint"]:
        raise UserError(verdict["complaint"])
    return verdict["address"] if isinstance(verdict["address"], str) else None


def interface_towards(address: str) -> str | None:
    """The network interface through which this machine reaches an IPv4 address, maybe its own; None if not found."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # which sends nothing
            own = socket.inet_aton(probe.getsockname()[0])
            for _, name in socket.if_nameindex():
                try:
                    answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                except OSError:  # it has no such address
                    continue
                if answer[20:24] == own:
                    return name
    except OSError:
        return None
    return None


def _complaint(theirs: dict[str, Any], ours: dict[str, Any], rank: int) -> str | None:
    """What rank 0 has otherwise, in a line."""
    here = f"rank {rank} on {socket.gethostname()}"
    if theirs[FOLDER] != ours[FOLDER]:
        return (
            f"hydra.run.dir: {here} does not see the folder that rank 0 writes to; it has to be the same one, "
            "on a file system that all machines share"
        )
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key), ours.get(key)
        if one != other:
            return (
                f"{key}: {spelled(other)} for {here}, {spelled(one)} for rank 0; start all ranks with the same command"
            )
    return None


def _abroad(name: str) -> str | None:
    """The IPv4 address of another machine by this name; None if it is this machine, or has none."""
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return None
    return None if ipaddress.ip_address(address).is_loopback else address


def _awaited(store: Store, key: str, until: float) -> str:
    """What somebody writes; signals are heard meanwhile."""
    while not store.check([key]):
        _rest(until, key.partition("/")[0])
    return store.get(key).decode()


def _rest(until: float, missing: str) -> None:
    if time.monotonic() > until:
        raise RunError(f"the ranks did not come together: no sign of {missing}")
    time.sleep(SECONDS_BETWEEN_LOOKS)
