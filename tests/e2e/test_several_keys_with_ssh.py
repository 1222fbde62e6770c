"""`AuthenticationMethods publickey,publickey`, as stock ssh meets it, and an attacker who has one of the two keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_USERAUTH_REQUEST
from asyncssh.packet import String

from child_process import Child
from ferry_command import ferry
from gateway_process import Gateway, gateway_in
from replaced_file import replace_file
from ssh_command import Ended, fingerprint, make_key

METHODS = "AuthenticationMethods publickey,publickey"
TWO: dict[str, object] = {"authentication_methods": ["publickey,publickey"]}
NAMES = {"ann1": "ann", "ann2": "ann", "bob1": "bob", "nameless": ""}


class Pairs:
    """Two keys of Ann, and one key each of others, in the file of a gateway that asks for two."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.folder, self.gateway = folder, gateway
        self.file = folder / "authorized_keys"
        self.sshd: dict[str, object] = {}
        for name, identity in NAMES.items():
            make_key(folder / name, comment=f"name={identity}" if identity else "")
        self.write()

    def write(self, *without: str, **options: str) -> None:
        """Replace the file of keys, with options before some of them."""
        lines = [
            f"{options.get(name, '')} {(self.folder / f'{name}.pub').read_text()}".lstrip()
            for name in NAMES
            if name not in without
        ]
        replace_file(self.file, "".join(lines))

    def use(self, **sshd: object) -> None:
        """Reload with these settings."""
        if sshd != self.sshd:
            self.sshd = self.gateway.settings["sshd"] = sshd
            self.gateway.reload()

    def follow(self, *without: str, **options: str) -> None:
        """Let the gateway read another file of keys."""
        seen = self.gateway.log_lines
        self.write(*without, **options)
        self.gateway.event(r'"keys\.loaded"', after=seen)

    def _arguments(self, keys: tuple[str, ...]) -> list[str]:
        return [word for key in keys for word in ("-i", str(self.folder / key))]

    def run(self, *keys: str, words: str = "whoami", more: tuple[str, ...] = ()) -> Ended:
        """Run stock ssh with these keys, in their order."""
        first, *others = keys
        ssh = self.gateway.ssh(self.folder, self.folder / first)
        return ssh.run(*self._arguments(tuple(others)), *more, words=words)

    def start(self, *keys: str, more: tuple[str, ...]) -> Child:
        first, *others = keys
        return self.gateway.ssh(self.folder, self.folder / first).start(*self._arguments(tuple(others)), *more)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    folder = tmp_path_factory.mktemp("pairs")
    file = folder / "authorized_keys"
    file.write_text("")
    access: dict[str, object] = {"mode": "keys", "keys": [file]}
    with gateway_in(folder, access=access, ssh={"penalties": False}, session={"request_log": False}) as gateway:
        yield Pairs(folder, gateway)


@pytest.fixture
def pairs(running: Pairs) -> Pairs:
    running.follow()
    running.use(**TWO)
    return running


def test_two_keys_of_one_identity_log_in_as_it(pairs: Pairs) -> None:
    seen = pairs.gateway.log_lines
    for keys in (("ann1", "ann2"), ("ann2", "ann1")):
        ended = pairs.run(*keys)
        assert ended.code == 0, ended.err
        assert "ann" in ended.out
        assert fingerprint(pairs.folder / keys[0]) in ended.out
        assert "ferry:" not in ended.err
    opened = pairs.gateway.event(r'"connection\.opened"', after=seen)
    assert opened["keys"] == [fingerprint(pairs.folder / "ann2")]
    assert opened["rule"] == f"{pairs.file}, line 1; {pairs.file}, line 2"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("ann1",), f"1 of 2 keys that this gateway asks you for has signed ({METHODS}): name them all, with -i KEYFILE"),
        (("ann1", "bob1"), "your keys are not of one person or machine here"),
        (("ann1", "nameless"), "your keys are not of one person or machine here"),
        (("nameless", "ann1"), f"your key cannot be one of the 2 that this gateway asks for ({METHODS}): the operator writes"),
        (("bob1", "ann1"), "your keys are not of one person or machine here"),
    ],
)  # fmt: skip
def test_one_key_alone_or_with_anothers_is_not_let_in(pairs: Pairs, keys: tuple[str, ...], told: str) -> None:
    ended = pairs.run(*keys, more=("-N",), words="")
    assert ended.code == 255
    assert told in ended.err.replace("\n", " ")
    assert "Permission denied" in ended.err
    assert pairs.gateway.ask("connections") == []


def test_what_one_of_the_lines_forbids_is_forbidden(pairs: Pairs) -> None:
    port, other = pairs.gateway.ports.loopback[:2]
    pairs.follow(ann2=f'permitlisten="{port}"')
    refused = pairs.run("ann1", "ann2", more=("-R", f"{other}:localhost:1"), words="")
    assert f"your key may listen on {port} only (permitlisten=)" in refused.err
    with pairs.start("ann1", "ann2", more=("-R", f"{port}:localhost:1")) as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        pairs.follow(ann1="restrict", ann2=f'permitlisten="{port}"')
        child.error_line("was closed: your key may not forward anything")


def test_without_its_second_key_a_connection_ends(pairs: Pairs) -> None:
    port = pairs.gateway.ports.loopback[0]
    with pairs.start("ann1", "ann2", more=("-R", f"{port}:localhost:1")) as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        pairs.follow("ann2")
        child.error_line("your key may not log in here any more")
        assert child.exit_code() == 255


def test_who_is_here_with_one_key_leaves_when_two_are_needed(pairs: Pairs) -> None:
    pairs.use(authentication_methods=["publickey"])
    port = pairs.gateway.ports.loopback[0]
    with pairs.start("ann1", more=("-R", f"{port}:localhost:1")) as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        pairs.use(**TWO)
        child.error_line(f"you need 2 keys here now .{METHODS}.: log in again with all of them")
        assert child.exit_code() == 255


def test_some_need_two_by_their_identity(pairs: Pairs) -> None:
    pairs.use(match=[{"identity": ["ann"], **TWO}])
    assert pairs.run("bob1").code == 0
    assert pairs.run("ann1", more=("-N",), words="").code == 255
    assert pairs.run("ann1", "bob1", more=("-N",), words="").code == 255
    assert pairs.run("ann1", "ann2").code == 0


class Attacker(asyncssh.SSHClient):
    """It signs with these keys in their order, each as the login name beside it, and then once more as `dev`."""

    def __init__(self, keys: list[tuple[Path, bytes]]) -> None:
        self._keys = keys

    def connection_made(self, conn: Any) -> None:
        self._connection = conn

    def public_key_auth_requested(self) -> Any:
        if not self._keys:
            return None
        path, user = self._keys.pop(0)
        (pair,) = asyncssh.load_keypairs([str(path)])
        sign = pair.sign

        def signed_for_another_first(data: bytes) -> bytes:
            if user != b"dev":
                end = 4 + int.from_bytes(data[:4], "big")  # of the session's id
                request = data[end:].replace(String(b"dev"), String(user), 1)
                self._connection.send_packet(MSG_USERAUTH_REQUEST, request[1:] + String(sign(data[:end] + request)))
            return sign(data)

        vars(pair)["sign"] = signed_for_another_first
        return pair


@pytest.mark.parametrize(
    "keys",
    [
        [("ann1", b"dev"), ("ann1", b"dev")], [("ann1", b"dev"), ("ann1", b"dev"), ("ann1", b"dev")],
        [("ann1", b"dev"), ("ann1", b"other")], [("ann1", b"other"), ("ann1", b"other")], [("ann1", b"dev"), ("bob1", b"dev")],
        [("ann1", b"dev"), ("ann2", b"other")],
    ],
)  # fmt: skip
async def test_nobody_enters_by_signing_again_or_for_others(pairs: Pairs, keys: list[tuple[str, bytes]]) -> None:
    """In the last row Ann has both keys, but has signed for two login names: the state of the first is flushed."""
    order = [(pairs.folder / name, user) for name, user in keys]
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", pairs.gateway.ports.ssh, username="dev", client_factory=lambda: Attacker(order), client_keys=None,
            known_hosts=None, config=None, agent_path=None,
        )  # fmt: skip


def test_anybody_cannot_be_asked_for_two_keys(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('[access]\nmode = "anyone"\n\n[sshd]\nauthentication_methods = ["publickey,publickey"]\n')
    said = ferry("check-config", "--config", file, cwd=tmp_path).err
    assert 'authentication_methods = ["publickey,publickey"] needs access.mode = "keys"' in said
