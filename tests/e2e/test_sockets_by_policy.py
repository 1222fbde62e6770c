"""Unix sockets and the policy file, with stock ssh: what rules allow, what a change closes, and what `explain` says."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway_process import Gateway
from line_service import LineService
from replaced_file import replace_policy
from sockets_gateway import SOCKETS, gateway_with_sockets
from ssh_command import StockSsh

RULE = '[[rule]]\nname = "sockets"\nwho = ["ann", "listed"]\n'
ALL = f'{RULE}publish.sockets = ["/{{name}}-*.sock"]\nreach.sockets = ["/{{name}}-*.sock", "/db.sock"]\n'


@pytest.fixture(scope="module")
def modules_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    options = {"ann": "", "listed": 'permitlisten="22"', "bob": ""}
    with gateway_with_sockets(tmp_path_factory.mktemp("ruled"), options, policy=ALL) as (gateway, root):
        for name in options:
            (root / name).mkdir(mode=0o700)
        yield gateway


@pytest.fixture
def change(modules_gateway: Gateway) -> Iterator[Callable[[str], None]]:
    """Puts other rules in force."""
    policy = modules_gateway.folder / "policy.toml"

    def changed(text: str) -> None:
        replace_policy(modules_gateway, policy, text)

    yield changed
    if policy.read_text() != ALL:
        changed(ALL)


@pytest.fixture
def of(modules_gateway: Gateway, tmp_path: Path) -> Callable[[str], StockSsh]:
    return lambda name: modules_gateway.ssh(tmp_path, modules_gateway.folder / name)


@pytest.fixture
def run(modules_gateway: Gateway) -> Path:
    return modules_gateway.folder / SOCKETS


def received(visitor: socket.socket) -> bytes:
    """What comes, or nothing at the end of the stream."""
    with suppress(ConnectionResetError):
        return visitor.recv(100)
    return b""


def connected(path: Path) -> socket.socket:
    visitor = socket.socket(socket.AF_UNIX)
    visitor.settimeout(20)
    visitor.connect(str(path))
    return visitor


@pytest.mark.parametrize(
    ("who", "forward", "why"),
    [
        ("ann", "-R /db.sock:localhost:9", "the operator's policy lets you publish the sockets /{name}-*.sock (rule"),
        ("bob", "-R /bob-1.sock:localhost:9", "the operator's policy does not let you publish the socket /bob-1.sock"),
        ("listed", "-R /listed-1.sock:localhost:9", "your key may not use this socket (permitlisten=)"),
    ],
)
def test_rule_and_key_must_both_allow_a_socket(
    of: Callable[[str], StockSsh], run: Path, who: str, forward: str, why: str
) -> None:
    ended = of(who).run("-N", *forward.split())
    assert ended.code == 255
    assert why in ended.err
    assert not list((run / who).iterdir())


def test_a_socket_that_no_rule_lets_one_reach_is_refused(
    of: Callable[[str], StockSsh], run: Path, free_port: int
) -> None:
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(run / "ann" / "other.sock"))
        service.listen()
        with of("ann").start("-N", "-v", "-L", f"{free_port}:/other.sock") as child:
            child.error_line("Entering interactive session")
            with socket.create_connection(("127.0.0.1", free_port), timeout=20) as visitor:
                assert visitor.recv(100) == b""
            child.error_line("administratively prohibited: the operator's policy lets you reach the sockets ")
    (run / "ann" / "other.sock").unlink()


def test_a_change_closes_the_socket_and_the_stream_that_it_forbids_and_nothing_else(
    of: Callable[[str], StockSsh],
    change: Callable[[str], None],
    run: Path,
    lines: LineService,
    modules_gateway: Gateway,
    free_port: int,
) -> None:
    target = f"localhost:{lines.port}"
    forwards = ("-R", f"/ann-stays.sock:{target}", "-R", f"/ann-goes.sock:{target}")
    with of("ann").start(*forwards, "-L", f"{free_port}:/ann-stays.sock") as child:
        child.line("^Forwarding a Unix socket from .*ann-stays.sock")
        child.line("^Forwarding a Unix socket from .*ann-goes.sock")
        with (
            connected(run / "ann" / "ann-stays.sock") as stays,
            socket.create_connection(("127.0.0.1", free_port), timeout=20) as stream,
        ):
            for visitor in (stays, stream):
                visitor.sendall(b"one\n")
                assert visitor.recv(100) == b"ONE\n"
            opened = modules_gateway.event(r'"host\.opened".*ann-stays\.sock')
            assert str(opened["rule"]).endswith("line 1: sockets")
            began = time.monotonic()
            change(f'{RULE}publish.sockets = "/ann-stays.sock"\n')
            child.line("ann-goes.sock was closed: the operator's policy lets you publish the sockets /ann-stays.sock")
            assert received(stream) == b"", "the stream is cut"
            assert time.monotonic() - began < 4, "two seconds, on a machine that does other things too"
            assert not (run / "ann" / "ann-goes.sock").exists()
            stays.sendall(b"two\n")
            assert stays.recv(100) == b"TWO\n"


def test_explain_and_the_forward_say_alike_what_is_in_the_way(of: Callable[[str], StockSsh], run: Path) -> None:
    path = run / "ann" / "ann-2.sock"
    path.write_text("a file")
    forward = f"-R /{path.name}:localhost:9"
    explained = of("ann").run(words=f"explain {forward}")
    why = f"{path} cannot be opened: something that is no socket of the gateway stands there"
    assert (explained.code, why in " ".join(explained.out.split())) == (1, True), explained
    assert why in of("ann").run("-N", *forward.split()).err
    path.unlink()
    assert of("ann").run(words=f"explain {forward}").code == 0


def test_explain_tells_what_becomes_of_a_socket(of: Callable[[str], StockSsh], run: Path) -> None:
    def explained(who: str, *words: str) -> tuple[int, str]:
        ended = of(who).run(words=" ".join(("explain", *words)))
        return ended.code, " ".join(ended.out.split())

    for forward in ("-R /ann-1.sock:localhost:3000", f"-R {run}/ann/ann-1.sock:localhost:3000"):
        code, said = explained("ann", forward)
        assert (code, said.startswith("yes: -R /")) == (0, True)
        assert said.endswith(" would open socket ann/ann-1.sock (rule 'sockets')")
    code, said = explained("ann", "-R", "/x.sock:localhost:3000")
    assert code == 1
    assert said.endswith("(rule 'sockets'), not the socket /x.sock")
    where = f"would connect to the socket {run}/ann/db.sock, if a program listens there (rule 'sockets')"
    for forward in ("-L 5432:/db.sock", "-L localhost:5432:/db.sock", "-W /db.sock"):
        assert explained("ann", forward) == (0, f"yes: {forward} {where}")
    code, said = explained("ann", "-L", "5432:/run/docker.sock")
    assert code == 1
    assert f"your sockets are in {run}/ann alone" in said
    assert explained("bob", "-W", "/db.sock")[0] == 1
    document = json.loads(of("ann").run(words="explain -W /db.sock output=json").out)
    assert (document["allowed"], document["socket"], document["rule"]) == (True, f"{run}/ann/db.sock", "sockets")
    assert not list((run / "ann").iterdir()), "nothing was opened"
