"""asyncssh, driven over standard input: see interop/program.py for the commands."""

from __future__ import annotations

import asyncio
import sys

import asyncssh

CHUNK = 65536


class Client:
    """One connection and its forwards."""

    def __init__(self) -> None:
        self.listeners: dict[tuple[str, int], asyncssh.SSHListener] = {}
        self.relays: set[asyncio.Task[None]] = set()

    async def login(self, host: str, port: str, user: str, key: str, rekey: str) -> str:
        more = {"rekey_bytes": int(rekey)} if int(rekey) else {}
        self.connection = await asyncssh.connect(
            host, int(port), username=user, client_keys=[key], known_hosts=None, config=None, agent_path=None, **more
        )  # the gateway was started for this run alone, so its host key is not checked
        return ""

    async def forward(self, host: str, port: str, target: str) -> str:
        listener = await self.connection.forward_remote_port(host, int(port), "127.0.0.1", int(target))
        self.listeners[host, listener.get_port()] = listener
        return str(listener.get_port())

    async def cancel(self, host: str, port: str) -> str:
        listener = self.listeners.pop((host, int(port)))
        listener.close()
        await listener.wait_closed()
        return ""

    async def exec(self, *words: str) -> str:
        done = await self.connection.run(" ".join(words), encoding=None)
        assert isinstance(done.stdout, bytes)
        return f"{done.exit_status} {done.stdout.hex()}"

    async def direct(self, host: str, port: str, target: str) -> str:
        far_reader, far_writer = await self.connection.open_connection(host, int(port), encoding=None)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(target))

        async def copy(
            source: asyncssh.SSHReader[bytes] | asyncio.StreamReader,
            sink: asyncssh.SSHWriter[bytes] | asyncio.StreamWriter,
        ) -> None:
            while data := await source.read(CHUNK):
                sink.write(data)
                await sink.drain()
            sink.write_eof()

        self.relays = {asyncio.create_task(copy(reader, far_writer)), asyncio.create_task(copy(far_reader, writer))}
        return ""

    async def rekey(self) -> str:
        return ""  # by rekey_bytes

    async def quit(self) -> str:
        self.connection.close()
        await self.connection.wait_closed()
        return ""


async def main() -> None:
    print("ready asyncssh", asyncssh.__version__, flush=True)
    client = Client()
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).rstrip("\n"):
        command, *words = line.split(" ")
        try:
            print("ok", await getattr(client, command)(*words), flush=True)
        except (OSError, asyncssh.Error) as error:
            print("no", error, flush=True)
        if command == "quit":
            return


asyncio.run(main())
