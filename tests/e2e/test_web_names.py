"""Web addresses, as people type them: `ssh -R 80:...` and its spellings."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from child_process import Child
from gateway_process import DOMAIN, Gateway
from origin_server import Origin
from ssh_command import StockSsh
from web_client import visit

TRAFFIC = r"^Forwarding HTTP traffic from http://([a-z0-9-]+)\.localhost"


def given_name(child: Child) -> str:
    return child.line(TRAFFIC)[1]


def test_a_derived_name_is_the_same_for_the_same_key(gateway: Gateway, ssh: StockSsh, origin: Origin) -> None:
    names = []
    for _ in range(2):
        with ssh.start("-R", f"80:localhost:{origin.port}") as child:
            names.append(given_name(child))
            assert visit(gateway, names[-1]).text == "origin"
    assert names[0] == names[1]
    assert re.fullmatch("[a-z]+-[a-z]+", names[0])


def test_another_key_has_another_derived_name(
    gateway: Gateway, ssh: StockSsh, new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    other = gateway.ssh(tmp_path, new_key())
    forward = f"80:localhost:{origin.port}"
    with ssh.start("-R", forward) as one, other.start("-R", forward) as two:
        assert given_name(one) != given_name(two)


def test_a_second_terminal_has_the_next_derived_name(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin
) -> None:
    with ssh.start("-R", f"80:localhost:{origin.port}") as one:
        first = given_name(one)
        with ssh.start("-R", f"80:localhost:{another_origin.port}") as two:
            second = given_name(two)
            assert first != second
            assert visit(gateway, first).text == "origin"
            assert visit(gateway, second).text == "another"


def test_a_keyless_client_has_a_fresh_name_each_time(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    keyless = gateway.ssh(tmp_path, None)
    names = set()
    for user in ("dev", "dev", "nokey"):
        with keyless.start("-R", f"80:localhost:{origin.port}", user=user) as child:
            names.add(given_name(child))
            child.line("you came without a key")
    assert len(names) == 3


@pytest.mark.parametrize("form", ["{name}", "{name}.localhost", "{name}.LocalHost."])
def test_a_chosen_name(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str, form: str) -> None:
    with ssh.start("-R", f"{form.format(name=name)}:80:localhost:{origin.port}") as child:
        assert given_name(child) == name
        assert visit(gateway, name).text == "origin"


def test_a_name_in_capitals_reaches_the_client_as_it_was_typed(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    with ssh.start("-R", f"{name.upper()}:80:localhost:{origin.port}") as child:
        assert given_name(child) == name
        assert visit(gateway, name).text == "origin"
        assert visit(gateway, name.upper()).text == "origin"


def test_a_login_name_means_a_name_only_if_the_identity_owns_it(
    gateway: Gateway, ssh: StockSsh, new_key: Callable[[], Path], origin: Origin, name: str, tmp_path: Path
) -> None:
    forward = f"80:localhost:{origin.port}"
    with ssh.start("-R", f"{name}:{forward}") as child:
        given_name(child)
    with ssh.start("-R", forward, user=name) as child:
        assert given_name(child) == name
    with gateway.ssh(tmp_path, new_key()).start("-R", forward, user=name) as child:
        assert given_name(child) != name
        child.line("for another: ssh -R NAME:80:...")


def test_an_unowned_login_name_claims_nothing(ssh: StockSsh, origin: Origin, name: str) -> None:
    with ssh.start("-R", f"80:localhost:{origin.port}", user=name) as child:
        assert given_name(child) != name
    assert name not in ssh.run(words="names").out


def test_two_names_in_one_connection(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin, name: str
) -> None:
    derived = f"80:localhost:{origin.port}"
    with ssh.start("-R", derived, "-R", f"{name}:80:localhost:{another_origin.port}") as child:
        first = given_name(child)
        child.line(f"http://{name}.localhost")
        assert visit(gateway, first).text == "origin"
        assert visit(gateway, name).text == "another"


def test_the_second_of_two_equal_forwards_is_refused_with_the_line_to_write(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin
) -> None:
    with ssh.start("-R", f"80:localhost:{origin.port}", "-R", f"80:localhost:{another_origin.port}") as child:
        name = given_name(child)
        child.error_line(r"Refused -R 80: .*write -R one:80:... -R two:80:...")
        assert visit(gateway, name).text == "origin"


def test_the_gateways_own_http_port_means_80(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    own = gateway.ports.http
    with ssh.start("-R", f"{name}:{own}:localhost:{origin.port}", "-R", f"{own}:localhost:{origin.port}") as child:
        child.line(f"http://{name}.{DOMAIN}")
        assert visit(gateway, name).text == "origin"
        child.line(r"http://[a-z]+-[a-z]+\.localhost")


def test_the_service_gets_the_visitors_address(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        given_name(child)
        head = visit(gateway, name, "/headers", fields={"X-Forwarded-For": "198.51.100.1"}).text
        assert "X-Forwarded-For: 127.0.0.1\n" in head
        assert f"X-Forwarded-Host: {name}.localhost:{gateway.ports.http}\n" in head
        assert "198.51.100.1" not in head


def test_the_bare_domain_names_itself_as_a_gateway(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=20)
    with contextlib.closing(connection):
        for path, status in (("/", 200), ("/blog", 404)):
            connection.request("GET", path, headers={"Host": DOMAIN})
            answer = connection.getresponse()
            assert answer.status == status
            assert b"This is a Ferry gateway" in answer.read()
