"""ClientAliveInterval and ClientAliveCountMax for some clients alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncssh.constants import MSG_GLOBAL_REQUEST

from ferry.policy.sshd import Match, SshdOptions, SshdRules
from inside_gateway import SECONDS, Inside

HURRIED = SshdRules(matches=(Match(SshdOptions(client_alive_interval=0.02, client_alive_count_max=2), user="hurried"),))


async def test_a_client_that_does_not_answer_is_gone_by_the_times_for_it(inside: Inside, key: Path) -> None:
    inside.change(sshd=HURRIED)
    async with inside.client(key) as patient, inside.client(key, username="hurried") as hurried:
        for client in (patient, hurried):
            client.on(MSG_GLOBAL_REQUEST, lambda _packet: None)
        async with asyncio.timeout(SECONDS / 2):
            await hurried.connection.wait_closed()
        assert await patient.lives()


async def test_a_reload_counts_for_those_who_are_here(inside: Inside, key: Path) -> None:
    async with inside.client(key, username="hurried") as client:
        client.on(MSG_GLOBAL_REQUEST, lambda _packet: None)
        (here,) = inside.clients
        inside.change(sshd=HURRIED)
        here.use_settings()
        async with asyncio.timeout(SECONDS / 2):
            await client.connection.wait_closed()


async def test_who_answers_stays(inside: Inside, key: Path) -> None:
    inside.change(sshd=HURRIED)
    async with inside.client(key, username="hurried") as client:
        asked = asyncio.Queue[None]()
        answer = client.connection._packet_handlers[MSG_GLOBAL_REQUEST]

        def counted(connection: object, kind: int, number: int, packet: object) -> object:
            asked.put_nowait(None)
            return answer(connection, kind, number, packet)

        client.connection._packet_handlers = {**client.connection._packet_handlers, MSG_GLOBAL_REQUEST: counted}
        async with asyncio.timeout(SECONDS / 2):
            for _ in range(5):
                await asked.get()
        assert await client.lives()
