"""paramiko, driven over standard input: see interop/program.py for the commands."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import paramiko

CHUNK = 65536
KEYS = {"ed25519": paramiko.Ed25519Key, "ecdsa": paramiko.ECDSAKey, "rsa": paramiko.RSAKey}


class Client:
    """One connection and its forwards."""

    def __init__(self) -> None:
        self.targets: dict[tuple[str, int], int] = {}

    def login(self, host: str, port: str, user: str, key: str, rekey: str) -> str:
        self.transport = paramiko.Transport((host, int(port)))
        self.transport.set_keepalive(0)
        if int(rekey):
            self.transport.packetizer.REKEY_BYTES = int(rekey)
        self.transport.start_client(timeout=20)
        self.transport.auth_publickey(user, KEYS[Path(key).name].from_private_key_file(key))
        return ""

    def forward(self, host: str, port: str, target: str) -> str:
        bound = self.transport.request_port_forward(host, int(port), self.incoming)
        self.targets[host, bound] = int(target)
        return str(bound)

    def incoming(self, channel: paramiko.Channel, _origin: object, asked: tuple[str, int]) -> None:
        relay(channel, self.targets[asked])

    def cancel(self, host: str, port: str) -> str:
        self.transport.cancel_port_forward(host, int(port))
        return ""

    def exec(self, *words: str) -> str:
        with self.transport.open_session(timeout=20) as channel:
            channel.exec_command(" ".join(words))
            output = channel.makefile("rb").read()
            return f"{channel.recv_exit_status()} {output.hex()}"

    def direct(self, host: str, port: str, target: str) -> str:
        relay(self.transport.open_channel("direct-tcpip", (host, int(port)), ("127.0.0.1", 1)), int(target))
        return ""

    def rekey(self) -> str:
        return ""  # by REKEY_BYTES

    def quit(self) -> str:
        self.transport.close()
        return ""


def relay(channel: paramiko.Channel, target: int) -> None:
    local = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=both_ways, args=(channel, local), daemon=True).start()


def both_ways(channel: paramiko.Channel, local: socket.socket) -> None:
    up = threading.Thread(target=copy, args=(local, channel), daemon=True)
    up.start()
    copy(channel, local)
    up.join()
    channel.close()
    local.close()


def copy(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except (OSError, EOFError) as error:
        print("relay:", error, file=sys.stderr)


print("ready paramiko", paramiko.__version__, flush=True)
client = Client()
for line in sys.stdin:
    command, *words = line.rstrip("\n").split(" ")
    try:
        print("ok", getattr(client, command)(*words), flush=True)
    except (OSError, EOFError, paramiko.SSHException) as error:
        print("no", error, flush=True)
    if command == "quit":
        break
sys.stderr.flush()
os._exit(0)  # a relay's thread may hold standard error, and Python aborts where it cannot take that at its end
