"""`ssh gw explain -R`, with stock ssh: it says of a forward what the gateway then says to it, whatever the reason is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from child_process import Child
from ferry.limits import FLAP_TAKEOVERS
from gateway_process import Gateway, gateway_in
from kernel_sockets import listening_on
from ssh_command import StockSsh, make_key


@pytest.fixture(scope="module")
def modules_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("explained")
    with gateway_in(folder, access={"mode": "anyone"}, names={"per_identity": 1}) as gateway:
        yield gateway


@pytest.fixture
def person(modules_gateway: Gateway, tmp_path: Path) -> Callable[[], StockSsh]:
    """Makes clients with keys that have nothing yet."""
    made = iter(range(100))
    return lambda: modules_gateway.ssh(tmp_path, make_key(tmp_path / f"key{next(made)}"))


def explained(client: StockSsh, asked: str) -> tuple[int, str]:
    ended = client.run(words=f"explain -R {asked}:localhost:9")
    return ended.code, " ".join(ended.out.split()).partition(f"-R {asked}:localhost:9")[2].strip(" :")


def granted(client: StockSsh, asked: str) -> Child:
    child = client.start("-N", "-v", "-R", f"{asked}:localhost:9")
    child.error_line("remote forward success")
    return child


def refused_alike(client: StockSsh, asked: str) -> str:
    """The reason with which `explain` says no, and then the forward."""
    code, reason = explained(client, asked)
    ended = client.run("-N", "-R", f"{asked}:localhost:9")
    assert (code, ended.code) == (1, 255), (reason, ended.err)
    assert f"Refused -R {asked}: {reason}" in " ".join(ended.err.split())
    return reason


def test_what_somebody_without_a_key_holds(modules_gateway: Gateway, person: Callable[[], StockSsh]) -> None:
    port, ann = next(modules_gateway.loopback_ports), person()
    with granted(modules_gateway.ssh(ann.folder, None), str(port)):
        assert refused_alike(ann, str(port)) == f"port {port} belongs to somebody else: ask for another"
    assert explained(ann, str(port)) == (0, f"would open port {port}")


def test_a_socket_where_there_are_none(modules_gateway: Gateway, person: Callable[[], StockSsh]) -> None:
    ended = person().run(words="explain -L 5432:/run/docker.sock")
    said = " ".join(ended.out.split())
    assert (ended.code, said.partition(".sock: ")[2]) == (
        1, "this gateway has no Unix sockets to reach: write a host and a port, as in -L 8022:laptop:22",
    )  # fmt: skip
    ended = person().run(words="explain -D 1080")
    assert "-D itself names no target: ask about one that it is to lead to, as in explain -W web-1:22" in ended.err


def test_one_name_more_than_an_identity_may_have(modules_gateway: Gateway, person: Callable[[], StockSsh]) -> None:
    ann, one, two = person(), next(modules_gateway.loopback_ports), next(modules_gateway.loopback_ports)
    granted(ann, str(one)).close()
    assert "you have 1 name or port, which is the limit: give one back with `ssh" in refused_alike(ann, str(two))
    assert "which is the limit" in refused_alike(ann, "0")
    assert explained(ann, str(one)) == (0, f"would open port {one}"), "that is the client's own"


def test_a_name_that_changes_hands_all_the_time(modules_gateway: Gateway, person: Callable[[], StockSsh]) -> None:
    ann, port = person(), str(next(modules_gateway.loopback_ports))
    with ExitStack() as stack:
        holder = stack.enter_context(granted(ann, port))
        for _ in range(FLAP_TAKEOVERS):
            loser, holder = holder, stack.enter_context(granted(ann, port))
            # a takeover counts once its loser has shown that it was not dead, and then that one is disconnected
            assert loser.exit_code() == 255
        code, reason = explained(ann, port)
        assert code == 1
        assert f"port {port} changed hands {FLAP_TAKEOVERS} times in a minute" in reason


def test_a_port_that_another_program_has(modules_gateway: Gateway, person: Callable[[], StockSsh]) -> None:
    port, ann = next(modules_gateway.loopback_ports), person()
    with socket.create_server(("127.0.0.1", port)):
        assert "is in use by another program on this host" in refused_alike(ann, str(port))
    assert explained(ann, str(port)) == (0, f"would open port {port}")
    assert not listening_on(port)
    with granted(ann, str(port)):
        assert explained(ann, str(port)) == (0, f"would open port {port}"), "the client's own connection gives way"


def test_it_names_the_port_that_the_gateway_then_gives(person: Callable[[], StockSsh]) -> None:
    ann = person()
    answer = explained(ann, "0")
    with ann.start("-N", "-R", "0:localhost:9") as child:
        port = child.error_line(r"Allocated port (\d+)")[1]
        assert answer == (0, f"would open port {port}")
        assert "which is the limit" in refused_alike(ann, "0"), "that one answers, and another would be one more"
    assert explained(ann, "0") == answer, "it had that one before"
