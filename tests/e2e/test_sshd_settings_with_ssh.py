"""`[sshd]`: settings with sshd's names, as stock ssh meets them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from kernel_sockets import listening_on
from line_service import LineService
from ssh_command import StockSsh, fingerprint, make_key

Settings = dict[str, Any]


@pytest.fixture
def gateway(modules_gateway: Gateway) -> Gateway:
    return modules_gateway


@pytest.fixture
def use(gateway: Gateway) -> Callable[..., int]:
    """Reloads the gateway with these settings in `[sshd]`, and gives a public port."""

    def reload(**settings: object) -> int:
        gateway.settings = {"sshd": settings}
        gateway.reload()
        return next(gateway.public_ports)

    return reload


def test_a_direction_that_is_off_is_refused_with_the_reason(use: Callable[..., int], ssh: StockSsh) -> None:
    port = use(allow_tcp_forwarding="local")
    ended = ssh.run("-R", f"{port}:localhost:1", "-R", "blog:80:localhost:1")
    assert ended.code == 1
    assert f"Refused -R {port}: the operator does not let you open anything with -R (AllowTcpForwarding)" in ended.err
    assert "Refused -R blog:80: the operator does not let" in ended.err
    use(allow_tcp_forwarding="remote")
    ended = ssh.run("-W", "laptop:22")
    assert "administratively prohibited" in ended.err
    assert "the operator does not let you reach anything with -L, -D, -J or -W" in ended.err


def test_who_asks_what_may_be_done_is_told(use: Callable[..., int], ssh: StockSsh) -> None:
    use(permit_listen=["21001"], permit_open=["none"])
    said = ssh.run().out
    assert "You may listen on 21001 only (PermitListen)." in said
    assert "You may reach nothing (PermitOpen)." in said
    assert "To forward: ssh -R 21001:localhost:3000" in said


def test_a_match_counts_for_those_who_meet_it(gateway: Gateway, use: Callable[..., int], ssh: StockSsh) -> None:
    seen = gateway.log_lines
    port = use(
        match=[
            {"user": ["web-*"], "permit_listen": ["blog:80"]},
            {"user": ["*"], "permit_listen": ["none"]},
        ]
    )
    refused = ssh.run("-R", f"{port}:localhost:1", user="web-1")
    assert f"the operator lets you listen on blog:80 only (PermitListen), not on localhost:{port}" in refused.err
    assert "you listen nowhere (PermitListen)" in ssh.run("-R", f"{port}:localhost:1", user="root").err
    assert str(gateway.event('"tunnel.refused"', after=seen)["rule"]).endswith(": sshd.match 1: permit_listen")


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        ("", {"127.0.0.1", "::1"}),
        ("localhost:", {"127.0.0.1", "::1"}),
        ("127.0.0.1:", {"127.0.0.1"}),
        ("[::1]:", {"::1"}),
    ],
)
def test_loopback_under_gateway_ports_no(use: Callable[..., int], ssh: StockSsh, asked: str, opened: set[str]) -> None:
    port = use(gateway_ports="no")
    with ssh.start("-R", f"{asked}{port}:localhost:1") as child:
        where = "localhost" if "127.0.0.1" in opened else "[::1]"
        child.line(f"^Forwarding TCP traffic from {re.escape(where)}:{port}$")
        assert listening_on(port) == opened
        assert "ignores" not in child.out.text


@pytest.mark.parametrize("asked", ["*", "0.0.0.0", "[::]", "192.0.2.7"])
def test_the_fall_back_to_loopback_is_said_everywhere(
    gateway: Gateway, use: Callable[..., int], ssh: StockSsh, lines: LineService, asked: str
) -> None:
    port, seen, bare = use(gateway_ports="no"), gateway.log_lines, asked.strip("[]")
    with ssh.start("-R", f"{asked}:{port}:localhost:{lines.port}") as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        child.line("the gateway ignores the address that you wrote before the port: GatewayPorts no")
        assert listening_on(port) == {"127.0.0.1", "::1"}
        note = f"local, not on {bare}: GatewayPorts no"
        assert note in ssh.run(words="ls").out
        assert f'"instead": "{note}"' in ssh.run(words="ls --output json").out
        assert note in ferry("ls", "--state", gateway.state, cwd=gateway.folder).out
        (tunnel,) = [one for one in gateway.ask("tunnels") if one["address"] == f"port {port}"]
        assert tunnel["bound"] == [f"127.0.0.1:{port}", f"[::1]:{port}"]
        opened = gateway.event('"tunnel.opened"', after=seen)
        assert (opened["bound"], opened["instead"]) == ("127.0.0.1 ::1", note)


def test_a_reload_closes_what_is_no_longer_allowed(use: Callable[..., int], ssh: StockSsh, lines: LineService) -> None:
    port = use()
    with ssh.start("-R", f"{port}:localhost:{lines.port}") as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        use(permit_listen=["none"])
        child.error_line("was closed: the operator lets you listen nowhere")
    with ssh.start("-R", f"{port}:localhost:{lines.port}") as child:
        child.error_line("Refused")


def test_a_public_port_closes_when_gateway_ports_moves_it(
    use: Callable[..., int], ssh: StockSsh, lines: LineService
) -> None:
    port = use()
    with ssh.start("-R", f"{port}:localhost:{lines.port}") as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        use(gateway_ports="no")
        child.error_line(r"was closed: the operator has changed where it may listen \(GatewayPorts\): ask for it again")


def test_a_forward_that_cannot_open_takes_no_port_from_its_owners_other_connection(
    use: Callable[..., int], ssh: StockSsh, lines: LineService
) -> None:
    port = use(gateway_ports="clientspecified")
    with ssh.start("-R", f"localhost:{port}:localhost:{lines.port}") as child:
        child.line(f"^Forwarding TCP traffic from localhost:{port}$")
        explained = ssh.run(words=f"explain -R 192.0.2.7:{port}:localhost:1")
        assert explained.code == 1
        why = " ".join(explained.out.split()).partition(":localhost:1: ")[2]
        assert why.startswith("192.0.2.7 is no address for tunnels here")
        assert f"Refused -R 192.0.2.7:{port}: {why}" in ssh.run("-N", "-R", f"192.0.2.7:{port}:localhost:1").err
        assert listening_on(port) == {"127.0.0.1", "::1"}
        assert f"port {port} " in ssh.run(words="ls").out


def test_explain_says_where_a_port_would_stay_local(use: Callable[..., int], ssh: StockSsh, lines: LineService) -> None:
    port = use(gateway_ports="no")
    asked = f"-R 0.0.0.0:{port}:localhost:{lines.port}"
    explained = " ".join(ssh.run(words=f"explain -N {asked}").out.split())
    assert explained == f"yes: {asked} would open port {port}, local, not on 0.0.0.0: GatewayPorts no"
    with ssh.start(*asked.split()) as child:
        child.line("the gateway ignores the address that you wrote before the port: GatewayPorts no")
        assert listening_on(port) == {"127.0.0.1", "::1"}


def test_no_sessions(use: Callable[..., int], ssh: StockSsh, lines: LineService) -> None:
    port = use(max_sessions=0)
    ended = ssh.run(words="ls")
    assert ended.code == 255
    assert "the operator lets you open no sessions (MaxSessions 0): forwards work with ssh -N" in ended.err
    with ssh.start("-N", "-v", "-R", f"{port}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")


def test_nobody_without_a_key(gateway: Gateway, use: Callable[..., int], ssh: StockSsh, tmp_path: Path) -> None:
    keyless = gateway.ssh(tmp_path, None)
    use(match=[{"user": ["guest"], "authentication_methods": ["any"]}], authentication_methods=["publickey"])
    for user in ("dev", "nokey"):
        ended = keyless.run(user=user)
        assert ended.code == 255
        assert "you need a key here (AuthenticationMethods publickey): make one with ssh-keygen -t ed25519" in ended.err
    assert keyless.run(user="guest").code == 0
    assert ssh.run().code == 0


def test_who_is_here_without_a_key_leaves_when_one_is_needed(
    gateway: Gateway, use: Callable[..., int], tmp_path: Path
) -> None:
    port = use()
    with gateway.ssh(tmp_path, None).start("-R", f"{port}:localhost:1") as child:
        child.line("^Forwarding TCP")
        use(authentication_methods=["publickey"])
        child.error_line("you need a key here")
        assert child.exit_code() == 255


@pytest.mark.parametrize(
    ("methods", "why"),
    [
        ('["password"]', 'Ferry knows no passwords and asks no other program: write ["publickey"], or for two'),
        ('["publickey,keyboard-interactive"]', "Ferry knows no passwords and asks no other program"),
        ('["publickey,publickey,publickey,publickey,publickey"]', "a log-in may need 4 keys at most, and this needs 5"),
        ('["none"]', "none would let nobody in"),
    ],
)
def test_other_methods_are_refused_with_what_to_write(tmp_path: Path, methods: str, why: str) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text(f"[sshd]\nauthentication_methods = {methods}\n")
    assert f"line 2: sshd.authentication_methods: {why}" in ferry("check-config", "--config", file, cwd=tmp_path).err


def test_a_gateway_does_not_start_with_a_wrong_setting(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text(
        '[sshd]\nallow_tcp_forwarding = "both"\npermit_open = ["any:any"]\n\n[[sshd.match]]\nuser = ["a"]\ngateway_port = "no"\n\n'
        "[[sshd.match]]\nmax_sessions = -1\n"
    )
    said = ferry("check-config", "--config", file, cwd=gateway.folder).err
    assert (
        "line 2: sshd.allow_tcp_forwarding: 'both' is not known here: write 'yes', 'all', 'no', 'local' or 'remote'"
        in said
    )
    assert "line 3: sshd.permit_open: 'any' is no port: write a number from 1 to 65535, or * for every port" in said
    assert "line 7: sshd.match 1: gateway_port: unknown key: did you mean gateway_ports?" in said
    assert "line 10: sshd.match 2: max_sessions: -1 is too small: the least is 0" in said


def test_a_key_that_signs_otherwise_is_not_let_in(gateway: Gateway, use: Callable[..., int], tmp_path: Path) -> None:
    rsa, ed25519 = (gateway.ssh(tmp_path, make_key(tmp_path / kind, kind)) for kind in ("rsa", "ed25519"))
    use(pubkey_accepted_algorithms=["-ssh-ed25519*"])
    ended = ed25519.run("-o", "BatchMode=yes")
    assert ended.code == 255
    assert "your key signs with ssh-ed25519, which the operator does not accept here (PubkeyAccepted" in ended.err
    assert "Permission denied" in ended.err
    ended = rsa.run("-v")
    assert ended.code == 0
    announced = next(line for line in ended.err.splitlines() if "server-sig-algs=" in line)
    assert "rsa-sha2-512" in announced
    assert "<ssh-ed25519" not in announced


def test_a_list_for_an_identity_counts_before_it_has_signed(
    gateway: Gateway, use: Callable[..., int], tmp_path: Path
) -> None:
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second")
    use(
        pubkey_accepted_algorithms=["rsa-*"],
        match=[{"identity": [fingerprint(first)], "pubkey_accepted_algorithms": "*"}],
    )
    assert gateway.ssh(tmp_path, first).run().code == 0
    assert gateway.ssh(tmp_path, second).run("-o", "BatchMode=yes").code == 255


def test_who_has_signed_otherwise_leaves_when_that_is_not_accepted_any_more(
    use: Callable[..., int], ssh: StockSsh
) -> None:
    port = use()
    with ssh.start("-R", f"{port}:localhost:1") as child:
        child.line("^Forwarding TCP")
        use(pubkey_accepted_algorithms=["rsa-*"])
        child.error_line("your key signs with ssh-ed25519, which the operator does not accept here")
        assert child.exit_code() == 255
