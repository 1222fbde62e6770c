"""`ssh -R` to the gateway's own ports, and services that call it: circles end, chains go on, neighbours notice nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from child_process import Child
from gateway_process import DOMAIN, Gateway
from line_service import LineService, ask
from looks import until
from origin_server import Origin
from ssh_command import StockSsh, environment
from web_client import visit

NGINX = """
daemon off; master_process off; pid {root}/nginx.pid; error_log stderr notice;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{gateway}; proxy_set_header Host {host}; {more} }}
  }}
}}
"""


@contextmanager
def nginx_to(gateway: Gateway, host: str, folder: Path, more: str = "") -> Iterator[int]:
    """A proxy as people write it, whose backend is a name of the gateway; gives its port."""
    port = next(gateway.loopback_ports)  # that no tunnel of this test asks for
    root = folder / f"nginx{port}"
    root.mkdir()
    config = root / "nginx.conf"
    config.write_text(
        NGINX.format(root=root, port=port, gateway=gateway.ports.http, host=f"{host}.{DOMAIN}", more=more)
    )
    command = ["/usr/sbin/nginx", "-c", str(config), "-p", str(root)]
    with Child(command, env=environment(root), cwd=root) as nginx:
        nginx.error_line("using the .* event method")
        yield port


def test_a_tunnel_to_the_gateways_own_port_is_asked_twice_and_no_more(
    gateway: Gateway, ssh: StockSsh, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:127.0.0.1:{gateway.ports.http}") as child:
        child.line("Forwarding HTTP")
        page = visit(gateway, name, fields={"Accept": "text/html"})
        assert page.status == 508
        assert "goes round in a circle" in page.text
        assert visit(gateway, name).status == 508
        child.line("leads back to this gateway")
        assert {tunnel["visits"] for tunnel in gateway.ask("tunnels") if name in tunnel["address"]} == {4}


def test_a_circle_of_two_tunnels_ends_and_a_call_from_tunnel_to_tunnel_works(
    gateway: Gateway, ssh: StockSsh, name: str, origin: Origin, tmp_path: Path
) -> None:
    there, back, caller = f"{name}-there", f"{name}-back", f"{name}-caller"
    with (
        nginx_to(gateway, back, tmp_path) as to_back,
        nginx_to(gateway, there, tmp_path) as to_there,
        nginx_to(gateway, name, tmp_path) as to_name,
        ssh.start(
            *("-R", f"{there}:80:127.0.0.1:{to_back}", "-R", f"{back}:80:127.0.0.1:{to_there}"),
            *("-R", f"{caller}:80:127.0.0.1:{to_name}", "-R", f"{name}:80:127.0.0.1:{origin.port}"),
        ) as child,
    ):
        for asked in (there, back, caller, name):
            child.line(f"Forwarding HTTP traffic from .*{asked}\\.")
        assert visit(gateway, there).status == 508
        assert visit(gateway, back).status == 508
        assert visit(gateway, caller).text == "origin"
        visits = {tunnel["address"]: tunnel["visits"] for tunnel in gateway.ask("tunnels")}
        assert (visits[f"{there}.{DOMAIN}"], visits[f"{back}.{DOMAIN}"]) == (3, 3)
        assert (visits[f"{caller}.{DOMAIN}"], visits[f"{name}.{DOMAIN}"]) == (1, 1)


def test_a_service_that_strips_the_field_fills_its_own_tunnel_only(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway(limits={"visitors_per_tunnel": 8})
    with (
        nginx_to(gateway, "loop", tmp_path, 'proxy_set_header CDN-Loop "";') as to_itself,
        gateway.ssh(tmp_path, new_key()).start("-R", f"loop:80:127.0.0.1:{to_itself}") as looping,
        gateway.ssh(tmp_path, new_key()).start("-R", f"blog:80:127.0.0.1:{origin.port}") as honest,
    ):
        looping.line("Forwarding HTTP")
        honest.line("Forwarding HTTP")
        assert visit(gateway, "loop").status == 503
        assert visit(gateway, "blog").text == "origin"
        (visits,) = [t["visits"] for t in gateway.ask("tunnels") if t["address"].startswith("loop.")]
        assert visits == 9


def go_round(gateway: Gateway, *ports: int, visits: int) -> None:
    """A visitor of the first of `ports`, who sends ten bytes. Returns once each port has had `visits` visits."""
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=60) as visitor:
        visitor.sendall(b"x" * 10)
        with suppress(ConnectionResetError):
            assert visitor.recv(1) == b""
    # a visit is counted when it ends, the inner ones of the circle one after the other
    until(lambda: _counted(gateway, ports) == [visits] * len(ports))


def _counted(gateway: Gateway, ports: Sequence[int]) -> list[int]:
    visits = {tunnel["address"]: tunnel["visits"] for tunnel in gateway.ask("tunnels")}
    return [visits[f"port {port}"] for port in ports]


LOOPBACKS = ["127.0.0.1", "[::1]"]


@pytest.mark.parametrize("target", LOOPBACKS)
def test_a_port_that_leads_to_itself_fills_a_share_of_its_places(
    gateway: Gateway, ssh: StockSsh, lines: LineService, target: str
) -> None:
    """Its visitors come back in from the client's host, by whichever address. VISITORS_FROM_CLIENT."""
    port, honest = next(gateway.loopback_ports), next(gateway.loopback_ports)
    with ssh.start("-R", f"{port}:{target}:{port}", "-R", f"{honest}:127.0.0.1:{lines.port}") as child:
        child.line(f"Forwarding TCP traffic from localhost:{port}$")
        child.line(f"Forwarding TCP traffic from localhost:{honest}$")
        go_round(gateway, port, visits=128)
        assert ask(honest, b"hello\n") == b"HELLO\nbye\n"


@pytest.mark.parametrize("there", LOOPBACKS)
@pytest.mark.parametrize("back", LOOPBACKS)
def test_two_ports_of_two_people_that_lead_to_each_other_fill_a_share_of_theirs(
    gateway: Gateway, new_key: Callable[[], Path], tmp_path: Path, there: str, back: str
) -> None:
    port, other = next(gateway.loopback_ports), next(gateway.loopback_ports)
    with (
        gateway.ssh(tmp_path, new_key()).start("-R", f"{port}:{there}:{other}") as one,
        gateway.ssh(tmp_path, new_key()).start("-R", f"{other}:{back}:{port}") as two,
    ):
        one.line("Forwarding TCP")
        two.line("Forwarding TCP")
        go_round(gateway, port, other, visits=128)
