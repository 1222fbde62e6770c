"""Two hosts on one link, as namespaces of the kernel: where the gateway runs, and one that it can reach.

It needs root, and rights that a container usually does not give.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from child_process import Child
from ferry_command import clean_environment

GATEWAY, FAR = "10.99.0.1", "10.99.0.2"
GATEWAY6, FAR6 = "fd99::1", "fd99::2"
NOBODY = "10.99.0.9"
"""No host has this one."""
_STAYS = "ip link set lo up && echo ready && exec sleep infinity"


def _may_make_networks() -> bool:
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "ip", "link", "add", "near", "type", "veth", "peer", "name", "far"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    return tried.returncode == 0


needs_networks = pytest.mark.skipif(not _may_make_networks(), reason="this user may not make networks of its own")


@dataclass(frozen=True)
class Network:
    """The namespaces, each by its first process."""

    gateway: int
    far: int

    def there(self, *, far: bool = False) -> list[str]:
        """What stands before a command that runs there."""
        pid, mounts = (self.far, []) if far else (self.gateway, ["--mount"])
        return ["nsenter", "--target", str(pid), "--net", *mounts, f"--wd={Path.cwd()}"]


@contextmanager
def small_network(folder: Path, names: dict[str, list[str]]) -> Iterator[Network]:
    """The network. The gateway's host knows `names`, each with its addresses, by /etc/hosts."""
    hosts = folder / "hosts"
    known = [("127.0.0.1", "localhost"), *((address, name) for name, found in names.items() for address in found)]
    hosts.write_text("".join(f"{address} {name}\n" for address, name in known))
    mounts = f"mount --make-rprivate / && mount --bind {hosts} /etc/hosts"
    with ExitStack() as stack:

        def first(*command: str) -> int:
            child = stack.enter_context(Child(command, env=clean_environment(), cwd=folder))
            child.line("^ready$")
            return child.process.pid

        made = Network(
            first("unshare", "--mount", "--net", "sh", "-euc", f"{mounts} && {_STAYS}"),
            first("unshare", "--net", "sh", "-euc", _STAYS),
        )
        link = ["ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(made.far)]
        subprocess.run([*made.there(), *link], check=True, timeout=20)
        ends = ((False, "near", (f"{GATEWAY}/24", f"{GATEWAY6}/64")), (True, "far", (f"{FAR}/24", f"{FAR6}/64")))
        for far, name, addresses in ends:
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                command = [*made.there(far=far), "ip", "address", "add", address, "dev", name, *nodad]
                subprocess.run(command, check=True, timeout=20)
            subprocess.run([*made.there(far=far), "ip", "link", "set", name, "up"], check=True, timeout=20)
        yield made
