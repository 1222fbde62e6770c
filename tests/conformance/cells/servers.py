"""Tries cells with stock ssh at this machine's sshd and at Ferry. One sshd and one gateway serve all cells: each has a key,
and the address of its client has `Match` blocks."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ferry_command import ferry
from gateway_process import Gateway, PortBlock
from origin_server import Origin
from ssh_command import StockSsh, make_key
from sshd_program import listening, own_user

from .asking import Outcome, ask
from .drawing import Cell, Place

AT_ONCE: Final = 4
POLICY: Final = """
[[rule]]
name = "all that sshd does without settings"
who = "*"
publish.ports = ["*"]
reach.ports = ["*"]
reach.hosts = ["*:*", "127.0.0.1:*", "127.0.0.2:*", "[::1]:*", "localhost:*"]
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a cell has ended at both."""

    cell: Cell
    real: Outcome
    ours: Outcome


def tried(cells: Sequence[Cell], folder: Path) -> list[Tried]:
    """Start both servers in `folder` and try all cells."""
    with ExitStack() as stack:
        return _Servers(cells, folder, stack).all()


class _Servers:
    def __init__(self, cells: Sequence[Cell], folder: Path, stack: ExitStack) -> None:
        self._cells, self._folder = cells, folder
        self._gateway = Gateway(folder)
        self._block = PortBlock.take()
        stack.callback(self._block.release)
        self._origin = stack.enter_context(Origin())
        keys, config = folder / "authorized_keys", folder / "sshd_config"
        self._keys = [make_key(folder / f"key-{number}") for number, _ in enumerate(cells)]
        self._places = [self._place(number) for number, _ in enumerate(cells)]
        self._write(keys, config)
        host_key = make_key(folder / "host_key")
        self._configure(keys, config)
        stack.enter_context(self._gateway.serving())
        stack.enter_context(
            listening(
                folder, self._block.ssh, config=config, HostKey=host_key, AuthorizedKeysFile=keys, MaxStartups="100"
            )
        )

    def _write(self, keys: Path, config: Path) -> None:
        """The files that both read. For Ferry all keys are of one identity, to which the ports belong."""
        lines, blocks = [], ["GatewayPorts no\n"]
        for cell, key, place in zip(self._cells, self._keys, self._places, strict=True):
            options = place.fill(",".join(cell.options))
            lines.append(f"{options} {key.with_suffix('.pub').read_text().strip()} name=drawn\n".lstrip())
            blocks += [block.lines(place) for block in cell.blocks]
        keys.write_text("".join(lines))
        config.write_text("".join(blocks))

    def _configure(self, keys: Path, config: Path) -> None:
        policy = self._folder / "policy.toml"
        policy.write_text(POLICY)
        imported = ferry("import", "sshd_config", config, cwd=self._folder)
        assert imported.code == 0, imported.err
        read = tomllib.loads(imported.out)
        ports = self._gateway.ports
        asked = {"first": ports.loopback[0], "last": ports.public[-1], "listen": "public"}
        given = {"first": ports.chosen[0], "last": ports.chosen[-1], "listen": "public"}
        self._gateway.settings = {
            "access": {"mode": "keys", "keys": [keys], "policy": policy},
            "ssh": {"listen": f"127.0.0.1:{ports.ssh}", "penalties": False},
            "http": {"listen": []},
            "https": {"listen": []},
            "tcp": {"ranges": [asked, given], "allocate_from": 1, "public_addresses": ["0.0.0.0", "::"]},
            "sshd": read["sshd"],
            "limits": {"connections_per_identity": 100},
        }

    def _place(self, number: int) -> Place:
        """Where a cell is tried. Those of one slot come one after another, on the same ports."""
        slot = number % AT_ONCE
        return Place(
            user=own_user(),
            here=f"127.0.{1 + number // 200}.{1 + number % 200}",
            target=self._origin.port,
            closed=self._gateway.ports.outside,
            ports=self._gateway.ports.loopback[3 * slot : 3 * slot + 3],
            local=self._block.loopback[3 * slot : 3 * slot + 3],
        )

    def all(self) -> list[Tried]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            slots = list(pool.map(self._of_slot, range(AT_ONCE)))
        found = {number: tried for slot in slots for number, tried in slot.items()}
        return [found[number] for number in range(len(self._cells))]

    def _of_slot(self, slot: int) -> dict[int, Tried]:
        return {number: self._tried(number) for number in range(slot, len(self._cells), AT_ONCE)}

    def _tried(self, number: int) -> Tried:
        cell, key, place = self._cells[number], self._keys[number], self._places[number]

        def asked(port: int, patience: float) -> Outcome:
            return ask(StockSsh(self._folder, "127.0.0.1", port, key), cell, place, patience=patience)

        real, ours = asked(self._block.ssh, 0.01), asked(self._gateway.ports.ssh, 5.0)
        if _lacks_address(cell, real, ours):
            real = asked(self._block.ssh, 0.01)
        return Tried(cell, real, ours)


def _lacks_address(cell: Cell, real: Outcome, ours: Outcome) -> bool:
    """Whether sshd listens on fewer addresses than Ferry, on a port of the system's choice: that is free on the first
    address, and somebody may have it on the next one."""
    chosen = [each.shown for each in cell.requests if each.flag == "-R" and each.listen.rpartition(":")[2] == "0"]
    return any(set() < set(real.bound.get(name) or ()) < set(ours.bound.get(name) or ()) for name in chosen)
