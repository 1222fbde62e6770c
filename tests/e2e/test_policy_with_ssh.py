"""The policy file, with stock ssh: what its rules allow, and what a change does to what is open."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from line_service import SECONDS, LineService, ask
from replaced_file import replace_policy
from ssh_command import StockSsh, make_key, run

NAMES = ("web-1", "web-2", "ann")


class Fleet:
    """A gateway with a policy file and a few keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy.toml"
        keys = folder / "authorized_keys"
        self.gateway = Gateway(
            folder,
            {"access": {"mode": "keys", "keys": [keys], "policy": self.policy}, "session": {"request_log": False}},
        )
        self.keys = {name: make_key(folder / name, comment=f"name={name}") for name in NAMES}
        keys.write_text("".join(key.with_suffix(".pub").read_text() for key in self.keys.values()))
        self.ports = self.gateway.ports.loopback
        self.policy.write_text(self.rules())

    def rules(self, last: int | None = None, more: str = "") -> str:
        """The fleet may publish the ports up to `last`."""
        first, end = self.ports[0], self.ports[-1] if last is None else last
        return (
            f'[[rule]]\nname = "fleet"\nwho = ["web-*"]\npublish.ports = ["{first}-{end}"]\n'
            f'publish.aliases = ["{{name}}:22"]\n{more}'
        )

    def change(self, text: str, outcome: str = "loaded") -> dict[str, object]:
        """Write the file, and what the gateway says of it."""
        return replace_policy(self.gateway, self.policy, text, outcome)

    def ssh(self, name: str) -> StockSsh:
        return self.gateway.ssh(self.folder, self.keys[name])


@pytest.fixture(scope="module")
def modules_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    with made.gateway.serving() as gateway:
        gateway.event(r'"policy\.loaded"')
        yield made


@pytest.fixture
def fleet(modules_fleet: Fleet) -> Iterator[Fleet]:
    yield modules_fleet
    if modules_fleet.policy.read_text() != modules_fleet.rules():
        modules_fleet.change(modules_fleet.rules())


def test_a_rule_allows_and_what_no_rule_allows_is_refused_with_the_reason(fleet: Fleet, lines: LineService) -> None:
    port, target = fleet.ports[0], f"localhost:{lines.port}"
    with fleet.ssh("web-1").start("-N", "-v", "-R", f"{port}:{target}") as child:
        child.error_line("remote forward success")
        assert ask(port, b"hello\n") == b"HELLO\nbye\n"
    outside = fleet.gateway.ports.chosen[0]
    ended = fleet.ssh("web-1").run("-N", "-R", f"{outside}:{target}")
    assert ended.code == 255
    why = (
        f"the operator's policy lets you publish the ports {port}-{fleet.ports[-1]} (rule 'fleet'), not port {outside}"
    )
    assert f"Refused -R {outside}: {why}" in ended.err
    refused = fleet.gateway.event(rf'"tunnel\.refused".*"asked":\s*"-R {outside}"')
    assert (refused["code"], refused["rule"]) == ("policy", str(fleet.policy))
    ended = fleet.ssh("ann").run("-N", "-R", f"blog:80:{target}")
    assert "the operator's policy does not let you publish the name blog, or any names" in ended.err


def test_each_machine_has_its_own_alias_and_no_other(fleet: Fleet, lines: LineService) -> None:
    with fleet.ssh("web-1").start("-N", "-v", "-R", f"web-1:22:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
    ended = fleet.ssh("web-1").run("-N", "-R", f"web-2:22:localhost:{lines.port}")
    assert "lets you publish the aliases {name}:22 (rule 'fleet'), not the alias web-2:22" in ended.err


def test_the_gateway_gives_a_port_that_the_rules_allow(fleet: Fleet) -> None:
    first = fleet.gateway.ports.public[3]
    fleet.change(f'[[rule]]\nwho = "ann"\npublish.ports = ["{first}-{first + 1}"]\n')
    with fleet.ssh("ann").start("-N", "-R", "0:localhost:9") as child:
        port = int(child.error_line(r"Allocated port (\d+)")[1])
    assert first <= port <= first + 1


def test_a_change_closes_what_is_not_allowed_any_more_and_nothing_else(fleet: Fleet, lines: LineService) -> None:
    stays, goes = fleet.ports[0], fleet.ports[1]
    target = f"localhost:{lines.port}"
    with fleet.ssh("web-1").start("-v", "-R", f"{stays}:{target}", "-R", f"{goes}:{target}") as child:
        child.line(f"localhost:{stays}")
        child.line(f"localhost:{goes}")
        with (
            socket.create_connection(("127.0.0.1", stays), timeout=SECONDS) as going_on,
            socket.create_connection(("127.0.0.1", goes), timeout=SECONDS) as cut,
        ):
            sent = b"before\n" * 1000
            going_on.sendall(sent)
            cut.sendall(b"hello\n")
            assert cut.recv(100) == b"HELLO\n"
            fleet.change(fleet.rules(last=stays))
            child.line(f"port {goes} was closed: .* \\(rule 'fleet'\\)")
            closed = fleet.gateway.event(rf'"tunnel\.closed".*"port {goes}"')
            assert closed["reason"] == (
                f"port {goes} was closed: the operator's policy lets you publish the ports {stays}-{stays} (rule "
                f"'fleet'), not port {goes} (rule 'fleet' had allowed it)"
            )
            with suppress(ConnectionError):
                assert cut.recv(100) == b""
            after = b"after\n" * 1000
            going_on.sendall(after)
            going_on.shutdown(socket.SHUT_WR)
            answer = b""
            while data := going_on.recv(65536):
                answer += data
            assert answer == (sent + after).upper() + b"bye\n"
        assert child.running


def test_a_wrong_file_keeps_the_policy_and_says_so(fleet: Fleet, lines: LineService) -> None:
    port, target = fleet.ports[0], f"localhost:{lines.port}"
    test = f'[[test]]\nwho = "web-1"\ndeny = ["publish {port}"]\n'
    with fleet.ssh("web-1").start("-N", "-v", "-R", f"{port}:{target}") as child:
        child.error_line("remote forward success")
        for wrong, why in (
            ("[[rule]\n", "line 1"),
            ("", "it has no [[rule]]"),
            (fleet.rules(more=test), f"denies 'publish {port}', and the rule 'fleet' (line 1) allows it"),
        ):
            rejected = fleet.change(wrong, "rejected")
            assert rejected["path"] == str(fleet.policy)
            assert why in str(rejected["error"])
            assert fleet.gateway.health()["policy"] == "rejected"
            status = ferry("status", "--state", fleet.gateway.state, cwd=fleet.folder)
            assert "and not as the file is now" in status.out
            assert why in " ".join(status.out.split())
            assert ask(port, b"hello\n") == b"HELLO\nbye\n"
            assert why in str(fleet.gateway.reload("rejected")["error"])
        assert child.running
        fleet.change(fleet.rules())
    assert fleet.gateway.health()["policy"] == "ok"
    assert fleet.gateway.ask("status")["policy"] == {"file": str(fleet.policy), "rules": 1, "error": ""}


def test_a_reload_without_a_policy_file_lets_the_keys_decide_alone(fleet: Fleet, lines: LineService) -> None:
    access = fleet.gateway.settings["access"]
    fleet.gateway.settings["access"] = {key: value for key, value in access.items() if key != "policy"}
    outside = next(fleet.gateway.public_ports)
    try:
        fleet.gateway.reload()
        assert fleet.gateway.health()["policy"] == "none"
        with fleet.ssh("web-1").start("-N", "-v", "-R", f"{outside}:localhost:{lines.port}") as child:
            child.error_line("remote forward success")
            fleet.gateway.settings["access"] = access
            fleet.gateway.reload()
            assert f"port {outside} was closed" in child.error_line("was closed").string
            assert child.exit_code() == 255
    finally:
        fleet.gateway.settings["access"] = access
        fleet.gateway.reload()


def test_what_a_rule_allows_ends_with_it(fleet: Fleet, lines: LineService) -> None:
    port = fleet.ports[0]
    soon = datetime.now(UTC) + timedelta(seconds=3)
    fleet.change(fleet.rules(more=f"until = {soon:%Y-%m-%dT%H:%M:%S}.{soon.microsecond:06}Z\n"))
    with fleet.ssh("web-1").start("-N", "-v", "-R", f"{port}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        said = child.error_line("was closed").string
        assert said.strip().endswith(
            f"the operator's policy let you publish port {port} until {soon:%Y-%m-%d %H:%M:%S} UTC (rule 'fleet')"
        )
        assert child.exit_code() == 255


def test_the_limits_of_a_rule_count_in_place_of_the_configurations(fleet: Fleet, lines: LineService) -> None:
    one, two, target = *fleet.ports[5:7], f"localhost:{lines.port}"
    fleet.change(fleet.rules(more="most.forwards = 1\n"))
    with fleet.ssh("web-2").start("-v", "-R", f"{one}:{target}", "-R", f"{two}:{target}") as child:
        child.line(f"localhost:{one}")
        child.error_line("you hold 1 forward, which is the limit of rule 'fleet'")
    fleet.change(fleet.rules(more="most.names = 1\n"))
    three, four = fleet.ports[7:9]
    with fleet.ssh("web-1").start("-v", "-R", f"{three}:{target}", "-R", f"{four}:{target}") as child:
        child.error_line("which is the limit of rule 'fleet': give one back with")


@pytest.mark.parametrize("limited_first", [True, False])
def test_the_limit_of_a_rule_counts_what_that_rule_allows(
    fleet: Fleet, lines: LineService, *, limited_first: bool
) -> None:
    """In whatever order they are asked for. What it allows does not count for others."""
    free, limited, more = fleet.ports[9:12]
    fleet.change(
        f'[[rule]]\nname = "free"\nwho = "web-*"\npublish.ports = ["{free}"]\n'
        f'[[rule]]\nname = "one"\nwho = "web-*"\npublish.ports = ["{limited}-{more}"]\nmost.forwards = 1\n'
    )
    ports = [limited, free] if limited_first else [free, limited]
    asked = [word for port in [*ports, more] for word in ("-R", f"{port}:localhost:{lines.port}")]
    with fleet.ssh("web-1").start("-v", *asked) as child:
        child.error_line(f"Refused -R {more}: you hold 1 forward, which is the limit of rule 'one'")
        for port in ports:
            child.line(f"localhost:{port}")
            assert ask(port, b"hello\n") == b"HELLO\nbye\n"


def test_at_the_limit_of_a_rule_a_machine_takes_its_own_port_over(fleet: Fleet, lines: LineService) -> None:
    fleet.change(fleet.rules(more="most.forwards = 1\n"))
    port, asked = fleet.ports[13], f"{fleet.ports[13]}:localhost:{lines.port}"
    with fleet.ssh("web-1").start("-R", asked) as lost:
        lost.line(f"localhost:{port}")
        lost.signal(signal.SIGSTOP)  # as a machine that has lost its network
        with fleet.ssh("web-1").start("-R", asked) as again:
            again.line(f"localhost:{port}")
            again.line("taken over from your connection from")
            assert ask(port, b"hello\n") == b"HELLO\nbye\n"


def test_staff_reach_machines_by_name_and_port_and_machines_do_not_reach_one_another(
    fleet: Fleet, lines: LineService
) -> None:
    port = fleet.ports[0]
    staff = f'[[rule]]\nname = "staff"\nwho = "ann"\nreach.aliases = ["web-*:22"]\nreach.ports = ["{port}"]\n'
    fleet.change(fleet.rules(more=staff))
    target = f"localhost:{lines.port}"
    with fleet.ssh("web-1").start("-v", "-R", f"{port}:{target}", "-R", f"web-1:22:{target}") as machine:
        machine.line("web-1:22")
        for wanted in ("web-1:22", f"localhost:{port}"):
            assert (
                run(fleet.ssh("ann").command("-W", wanted), folder=fleet.folder, stdin=b"hello\n").out == "HELLO\nbye\n"
            )
            ended = fleet.ssh("web-2").run("-W", wanted)
            assert "administratively prohibited: the operator's policy does not let you reach" in ended.err
        assert "not the alias db:22" in fleet.ssh("ann").run("-W", "db:22").err
        words = ("audit", "--kind", "reach", "--outcome", "ok", "--identity", "ann", "--json")
        audit = ferry(*words, "--state", fleet.gateway.state, cwd=fleet.folder).out
        assert [json.loads(line)["rule"].rpartition(": ")[2] for line in audit.splitlines()] == ["staff", "staff"]
        # its own alias too, but for the port that the very connection holds, as autossh -M asks for
        assert "does not let you reach the alias web-1:22" in fleet.ssh("web-1").run("-W", "web-1:22").err
    refused = fleet.gateway.event(r'"reach\.refused".*"web-1:22"')
    assert (refused["code"], refused["rule"]) == ("policy", str(fleet.policy))


def test_a_machine_that_holds_a_port_alone_is_reached_by_the_name_of_its_key(fleet: Fleet, lines: LineService) -> None:
    """By a rule for the name, as if it were an alias, or by one for the port."""
    port = fleet.ports[-3]
    with fleet.ssh("web-1").start("-v", "-R", f"{port}:localhost:{lines.port}") as machine:
        machine.line("^Forwarding TCP")
        for rule in ('reach.aliases = ["web-*:22"]', f'reach.ports = ["{port}"]'):
            fleet.change(fleet.rules(more=f'[[rule]]\nname = "staff"\nwho = "ann"\n{rule}\n'))
            asked = fleet.ssh("ann").command("-W", "web-1:22")
            assert run(asked, folder=fleet.folder, stdin=b"hello\n").out == "HELLO\nbye\n"
            ended = fleet.ssh("web-2").run("-W", "web-1:22")
            assert "the operator's policy does not let you reach the alias web-1:22" in ended.err
            assert str(port) not in ended.err
        told = fleet.ssh("ann").run(words="explain -W web-1:22").out
        assert told == f"yes: -W web-1:22 would lead to port {port} (rule 'staff')\n"


def test_a_stream_that_is_not_allowed_any_more_is_cut_and_another_goes_on(fleet: Fleet, lines: LineService) -> None:
    target = f"localhost:{lines.port}"

    def staff(*aliases: str) -> str:
        return fleet.rules(more=f'[[rule]]\nname = "staff"\nwho = "ann"\nreach.aliases = {json.dumps(aliases)}\n')

    fleet.change(staff("web-1:22", "web-2:22"))
    stays, goes = next(fleet.gateway.loopback_ports), next(fleet.gateway.loopback_ports)
    forwards = ("-L", f"{stays}:web-1:22", "-L", f"{goes}:web-2:22")
    with (
        fleet.ssh("web-1").start("-R", f"web-1:22:{target}") as first,
        fleet.ssh("web-2").start("-R", f"web-2:22:{target}") as second,
        fleet.ssh("ann").start("-v", "-N", *forwards) as ann,
    ):
        first.line("web-1:22")
        second.line("web-2:22")
        ann.error_line("Local forwarding listening on 127.0.0.1 port " + str(goes))
        ann.error_line("Entering interactive session")
        with (
            socket.create_connection(("127.0.0.1", stays), timeout=SECONDS) as going_on,
            socket.create_connection(("127.0.0.1", goes), timeout=SECONDS) as cut,
        ):
            for each in (going_on, cut):
                each.sendall(b"hello\n")
                assert each.recv(100) == b"HELLO\n"
            sent = b"more\n" * 10_000
            going_on.sendall(sent)
            fleet.change(staff("web-1:22"))
            with suppress(ConnectionError):
                assert cut.recv(100) == b""
            going_on.shutdown(socket.SHUT_WR)
            answer = b""
            while data := going_on.recv(65536):
                answer += data
            assert answer == sent.upper() + b"bye\n"
        assert ann.running
        assert "not the alias web-2:22" in fleet.ssh("ann").run("-W", "web-2:22").err


# --- ssh gw explain


def explained(fleet: Fleet, name: str, *words: str) -> tuple[int, str]:
    ended = fleet.ssh(name).run(words=" ".join(("explain", *words)))
    assert not [line for line in ended.err.splitlines() if "Permanently added" not in line], ended.err
    return ended.code, " ".join(ended.out.split())


def test_explain_tells_a_client_what_it_would_get_and_claims_nothing(fleet: Fleet, lines: LineService) -> None:
    port, outside = fleet.ports[12], next(fleet.gateway.public_ports)
    code, said = explained(fleet, "web-1", "-R", f"{port}:localhost:3000")
    assert (code, said) == (0, f"yes: -R {port}:localhost:3000 would open port {port} (rule 'fleet')")
    code, said = explained(fleet, "web-1", "-R", f"{outside}:localhost:3000")
    assert code == 1
    assert said.startswith(f"no: -R {outside}:localhost:3000: the operator's policy lets you publish the ports ")
    assert explained(fleet, "ann", "-R", "blog:80:localhost:3000")[0] == 1
    names = ferry("ls", "--names", "--json", "--state", fleet.gateway.state, cwd=fleet.folder).out
    assert f"port {port}" not in names
    with fleet.ssh("web-2").start("-N", "-v", "-R", f"{port}:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        assert f"port {port} belongs to somebody else" in explained(fleet, "web-1", "-R", f"{port}:localhost:3000")[1]
        assert explained(fleet, "web-2", "-R", f"{port}:localhost:3000")[0] == 0
    ended = fleet.ssh("web-1").run(words=f"explain -R {port}:localhost:3000 output=json")
    document = json.loads(ended.out)
    assert (ended.code, document["event"], document["allowed"]) == (1, "explain", False)
    assert "belongs to somebody else" in document["message"]


def test_explain_tells_what_may_be_reached(fleet: Fleet, lines: LineService) -> None:
    staff = (
        '[[rule]]\nname = "staff"\nwho = "ann"\nreach.aliases = ["web-*:22"]\nreach.hosts = ["db.example.com:5432"]\n'
    )
    fleet.change(fleet.rules(more=staff))
    with fleet.ssh("web-1").start("-N", "-v", "-R", f"web-1:22:localhost:{lines.port}") as child:
        child.error_line("remote forward success")
        for words in (("-J", "web-1"), ("-W", "web-1:22"), ("-L", "8022:web-1:22")):
            code, said = explained(fleet, "ann", *words)
            assert (code, said) == (0, f"yes: {' '.join(words)} would lead to web-1:22 (rule 'staff')")
        assert explained(fleet, "web-2", "-J", "web-1")[0] == 1
    assert "no alias web-7:22 here for you" in explained(fleet, "ann", "-J", "web-7")[1]
    code, said = explained(fleet, "ann", "-L", "5432:db.example.com:5432")
    assert code == 0
    assert "would connect to the host db.example.com, if it is there" in said
    assert said.endswith("its address is no special one (rule 'staff')")
    assert "explain takes one forward, as you would type it" in fleet.ssh("ann").run(words="explain web-1").err
    assert "ssh localhost explain -R" not in fleet.ssh("ann").run(words="help").out
    assert "The operator's rules say what you may publish and reach" in " ".join(fleet.ssh("ann").run().out.split())


def test_the_admin_address_is_reached_by_a_rule_for_its_very_port_alone(fleet: Fleet, lines: LineService) -> None:
    admin = fleet.gateway.ports.admin

    def reaches(port: int, permit: str) -> tuple[bool, bool]:
        """Whether a rule lets somebody connect, and what explain says of it."""
        fleet.change(fleet.rules(more=f'[[rule]]\nwho = "ann"\nreach.hosts = ["{permit}"]\n'))
        target = f"127.0.0.1:{port}"
        ended = fleet.ssh("ann").run("-W", target)
        return "administratively prohibited" not in ended.err, explained(fleet, "ann", "-W", target)[0] == 0

    for permit in ("127.0.0.1:*", "127.0.0.1:1024-65535"):
        assert reaches(admin, permit) == (False, False), permit
        assert reaches(lines.port, permit) == (True, True), permit
    assert reaches(admin, f"127.0.0.1:{admin}") == (True, True)
