"""What OpenSSH's scripts call as sshd.

    python -I -S stub.py SOCKET ARGUMENT...

It passes its arguments, folder, environment and open files to the program at the socket (`shaped`), and ends with the exit
code that comes back. The scripts start some hundred sshds, and importing a gateway takes longer than most of them live.
"""

import os
import socket
import sys


def main() -> int:
    with socket.socket(socket.AF_UNIX) as program:
        program.connect(sys.argv[1])
        told = [os.path.realpath(""), str(len(sys.argv) - 2), *sys.argv[2:]]
        told += [f"{name}={value}" for name, value in os.environ.items()]
        socket.send_fds(program, [b"\0"], [0, 1, 2])
        program.sendall("\0".join(told).encode("utf-8", "surrogateescape"))
        program.shutdown(socket.SHUT_WR)
        code = program.recv(1)
    return code[0] if code else 255


sys.exit(main())
