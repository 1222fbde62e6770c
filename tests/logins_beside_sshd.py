"""Log-ins with stock ssh, tried at this machine's sshd and at Ferry, whose settings `ferry import sshd_config` has written."""

from __future__ import annotations

import tomllib
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from ferry_command import ferry
from gateway_process import gateway_in
from ssh_command import StockSsh, make_key
from sshd_program import listening, own_user

AT_ONCE = 4
Cell = TypeVar("Cell", bound=Hashable)


class Login(NamedTuple):
    """How ssh tries it."""

    address: str
    """From which it comes."""
    keys: tuple[Path, ...]
    """In their order."""
    options: tuple[str, ...] = ()
    """Each with its value."""


def outcomes_alike(logins: Mapping[Cell, Login], folder: Path, sshd_port: int, config: str) -> dict[Cell, bool]:
    """Whether each is let in. `config`: what the files for sshd and for the import say, beside the number of log-ins at
    once. Raises AssertionError with those that the two servers decide otherwise."""
    file, own = folder / "sshd_config", folder / "gateway"
    file.write_text(f"MaxStartups 100\n{config}")
    own.mkdir()
    settings = tomllib.loads(ferry("import", "sshd_config", file, cwd=folder).out)
    tables = {name: settings[name] for name in ("access", "sshd")} | {"ssh": {"penalties": False}}
    with (
        gateway_in(own, **tables) as gateway,
        listening(folder, sshd_port, config=file, HostKey=make_key(folder / "host_key")),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        ours, real = (
            dict(zip(logins, pool.map(partial(_let_in, folder, port), logins.values()), strict=True))
            for port in (gateway.ports.ssh, sshd_port)
        )
    differ = [cell for cell in logins if ours[cell] != real[cell]]
    assert {cell: ours[cell] for cell in differ} == {cell: real[cell] for cell in differ}
    return real


def _let_in(folder: Path, port: int, login: Login) -> bool:
    first, *others = login.keys
    words = [word for key in others for word in ("-i", str(key))]
    words += [word for option in ("BatchMode=yes", *login.options) for word in ("-o", option)]
    ssh = StockSsh(folder, "127.0.0.1", port, first)
    ended = ssh.run(*words, "-b", login.address, user=own_user(), words="ls")
    assert ended.code == 0 or "Permission denied" in ended.err, (login, ended.err)
    return ended.code == 0
