"""A program for libssh (through ctypes): logs in and asks for a port of the gateway's choice. Prints the port.

python libssh_program.py PORT KEYFILE TIMES
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# libssh.h: enum ssh_options_e
HOST, PORT, USER, KNOWNHOSTS, PROCESS_CONFIG = 0, 1, 4, 8, 38


def checked(result: int, what: str) -> None:
    if result != 0:
        sys.exit(f"{what}: {result}")


def main(port: int, key_file: str) -> int:
    libssh: Any = ctypes.CDLL("libssh.so.4")
    for name in ("ssh_new", "ssh_get_error"):
        getattr(libssh, name).restype = ctypes.c_void_p
    session = ctypes.c_void_p(libssh.ssh_new())
    libssh.ssh_options_set(session, HOST, b"127.0.0.1")
    libssh.ssh_options_set(session, PORT, ctypes.byref(ctypes.c_uint(port)))
    libssh.ssh_options_set(session, USER, b"dev")
    libssh.ssh_options_set(session, KNOWNHOSTS, b"/dev/null")
    libssh.ssh_options_set(session, PROCESS_CONFIG, ctypes.byref(ctypes.c_bool(False)))
    checked(libssh.ssh_connect(session), "connect")
    key = ctypes.c_void_p()
    checked(libssh.ssh_pki_import_privkey_file(key_file.encode(), None, None, None, ctypes.byref(key)), "key")
    checked(libssh.ssh_userauth_publickey(session, None, key), "log-in")
    given = ctypes.c_int(-1)
    checked(libssh.ssh_channel_listen_forward(session, None, 0, ctypes.byref(given)), "-R 0")
    libssh.ssh_disconnect(session)
    return given.value


if __name__ == "__main__":
    for _ in range(int(sys.argv[3])):
        print(main(int(sys.argv[1]), sys.argv[2]))
