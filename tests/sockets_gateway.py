"""A gateway that opens Unix sockets for its clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway_process import Gateway, gateway_in
from ssh_command import make_key

SOCKETS = "run"
"""The name of their folder."""


@contextmanager
def gateway_with_sockets(
    folder: Path, options: Mapping[str, str], *, policy: str = "", **sshd: object
) -> Iterator[tuple[Gateway, Path]]:
    """It runs, and has the folder of sockets that it yields too. Each name has a key of that name in `folder`, with its
    options. `sshd`: settings of that table."""
    (root := folder / SOCKETS).mkdir(mode=0o755)
    lines = [
        f"{option} {make_key(folder / name).with_suffix('.pub').read_text().strip()} name={name}\n".lstrip()
        for name, option in options.items()
    ]
    (folder / "keys").write_text("".join(lines))
    access: dict[str, object] = {"mode": "keys", "keys": [folder / "keys"]}
    if policy:
        (folder / "policy.toml").write_text(policy)
        access["policy"] = folder / "policy.toml"
    sshd = {"allow_streamlocal_forwarding": "yes", "streamlocal_folder": root} | sshd
    with gateway_in(folder, access=access, sshd=sshd) as gateway:
        yield gateway, root
