"""A client that is a small program on an SSH library: interop/clients has one for each.

It is told what to do on standard input, a line each, and answers each line with one of

    ok VALUE        done
    no TEXT         tried, and failed
    n/a TEXT        the library cannot do it

The lines, where words are parted by one space:

    login HOST PORT USER KEYFILE REKEYBYTES     REKEYBYTES 0: the library's own
    forward HOST PORT TARGET                    VALUE is the port; what comes goes to 127.0.0.1:TARGET
    cancel HOST PORT
    exec COMMAND                                VALUE is the exit status and the output in hex
    direct HOST PORT TARGET                     direct-tcpip, joined with a connection to 127.0.0.1:TARGET
    rekey                                       for a library without a bound in bytes
    quit                                        log out; then the program ends with exit code 0

Before that it writes `ready NAME VERSION`. Half a connection that ends is passed on as such, in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from child_process import Child
from ssh_command import environment

from .client import SECONDS, CannotDo, Failed, Login


class Program:
    """Speaks with one such program."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        self._child = Child(command, env=environment(folder), cwd=folder, keyboard=True)
        self._answered = 1
        self.version = self._child.line("^ready (.*)", SECONDS)[1]

    def _tell(self, line: str) -> str:
        self._child.typed(line + "\n")
        answer = self._child.line(r"^(ok|no|n/a) ?(.*)", SECONDS, after=self._answered)
        self._answered = self._child.out.lines.index(answer.string, self._answered) + 1
        match answer[1]:
            case "ok":
                return answer[2]
            case "no":
                raise Failed(answer[2])
            case _:
                raise CannotDo(answer[2])

    def login(self, login: Login) -> None:
        self._tell(f"login {login.host} {login.port} {login.user} {login.key} {login.rekey_bytes}")

    def forward(self, host: str, port: int, target: int) -> int:
        return int(self._tell(f"forward {host} {port} {target}"))

    def cancel(self, host: str, port: int) -> str:
        self._tell(f"cancel {host} {port}")
        return ""

    def exec(self, command: str) -> tuple[int, bytes]:
        code, _, output = self._tell(f"exec {command}").partition(" ")
        return int(code), bytes.fromhex(output)

    def direct(self, host: str, port: int, target: int) -> None:
        self._tell(f"direct {host} {port} {target}")

    def rekey(self) -> None:
        self._tell("rekey")

    def quit(self) -> None:
        self._tell("quit")
        if (code := self._child.exit_code(SECONDS)) != 0:
            raise Failed(f"exit code {code}")

    def close(self) -> None:
        self._child.close()
