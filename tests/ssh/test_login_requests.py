"""Endless authentication requests before the log-in: questions about acceptable keys, and superseded signatures."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.auth import MSG_USERAUTH_PK_OK
from asyncssh.constants import MSG_USERAUTH_REQUEST
from asyncssh.packet import Boolean, String

from gateway_process import Gateway

AUTH_REQUESTS = 64
MANY = 10 * AUTH_REQUESTS


class Asker:
    """An asyncssh client that, when it is to sign, first sends MANY requests more."""

    def __init__(self, gateway: Gateway, key: Path, *, signed: bool) -> None:
        self._gateway, self._key, self._signed = gateway, key, signed
        self.answers = 0
        """Keys that would do, as the gateway says."""

    async def log_in(self) -> Any:
        """Raises what ended the connection."""
        asker = self
        (pair,) = asyncssh.load_keypairs([str(self._key)])
        sign = pair.sign

        class Client(asyncssh.SSHClient):
            def connection_made(self, conn: Any) -> None:
                self._connection = conn

            def public_key_auth_requested(self) -> Any:
                vars(pair)["sign"] = self._sign
                return pair

            def _sign(self, data: bytes) -> bytes:
                asker.answered_by(self._connection)
                signature = sign(data)
                request = data[4 + int.from_bytes(data[:4], "big") :]  # what is signed begins with the session's id
                question = (
                    String(b"dev") + String(b"ssh-connection") + String(b"publickey") + Boolean(False)
                    + String(b"ssh-ed25519") + String(pair.public_data)
                )  # fmt: skip
                for _ in range(MANY):
                    more = request[1:] + String(signature) if asker._signed else question
                    self._connection.send_packet(MSG_USERAUTH_REQUEST, more)
                return signature

        return await asyncssh.connect(
            "127.0.0.1", self._gateway.ports.ssh, username="dev", client_factory=Client, client_keys=None,
            known_hosts=None, config=None, agent_path=None, kbdint_auth=False,
        )  # fmt: skip

    def answered_by(self, connection: Any) -> None:
        """From now on the answers are counted."""

        def count(*_: object) -> None:
            self.answers += 1

        auth = connection._auth
        auth._packet_handlers = {**auth._packet_handlers, MSG_USERAUTH_PK_OK: count}


@pytest.mark.parametrize("signed", [False, True])
async def test_endless_authentication_requests_end_the_connection_and_others_log_in(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, signed: bool
) -> None:
    gateway = start_gateway(limits={"exempt": []}, ssh={"penalties": False})
    with closing(sqlite3.connect(gateway.state / "ferry.db", isolation_level=None)) as backup:
        if signed:
            backup.execute("BEGIN IMMEDIATE")  # no signature is answered before the next one has come
        asker = Asker(gateway, new_key(), signed=signed)
        with pytest.raises((asyncssh.DisconnectError, ConnectionError)) as ended:
            await asker.log_in()
    assert "database" not in str(ended.value)  # that is what is said after STORE_BUSY_SECONDS
    assert asker.answers <= AUTH_REQUESTS
    assert gateway.ssh(tmp_path, new_key()).run(words="whoami").code == 0
