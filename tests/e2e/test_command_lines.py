"""Command lines that people bring from other services and other clients, and those of plain ssh.

Each is typed as it stands in a manual or a shell history, with the client itself. Its row says whether it stays up or
with which code it ends, and what a person reads. `gw` is the gateway. NAME is a name of the row alone, 3000 the port of
a service that runs, LOOPBACK a port that this gateway forwards on loopback, FREE a free port of the client's machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway_process import Gateway, gateway_in
from origin_server import Origin
from ssh_command import make_key
from typed_line import Desk
from web_client import visit


@dataclass(frozen=True, slots=True)
class Line:
    """One command line. A text is a part of a line that a person reads; `…` in it is anything."""

    typed: str
    code: int | None = None
    """The exit code; None: it stays up."""
    out: tuple[str, ...] = ()
    """On standard output. Empty: nothing at all comes there."""
    err: tuple[str, ...] = ()
    visited: int | None = None
    """The status that a visitor of NAME gets."""
    then: tuple[str, ...] = ()
    """On standard output, after that visit."""


WEB = "Forwarding HTTP traffic from http://"
NAMED = f"{WEB}NAME.localhost:HTTPPORT"
KEPT = "  the name stays yours; for another: ssh -R …:80:... -p SSHPORT localhost"
TCP = "Forwarding TCP traffic from localhost:"
NEW_EACH_TIME = "is new each time; with a key it stays yours"
WEB_INSTEAD = "  for a web address instead: ssh -R 80:... -p SSHPORT localhost"
LISTS = "`ssh -p SSHPORT localhost help` lists what is known"
CLOSED = "This command's forwards are closed."
ADMIN = "Refused -R admin:80: the operator has reserved the name 'admin': ask for another"
NO_ALIAS = "no alias NAME:22 here for you: `ssh -p SSHPORT localhost ls` lists yours"
NO_PASSWORD = f"this gateway asks visitors for no password, so nothing is published. …a private alias. {CLOSED}"
NO_ADDRESSES = f"this gateway keeps no visitors out by address, so nothing is published. …a private alias. {CLOSED}"
OTHERS = f"it is another service's option: {LISTS} here. {CLOSED}"
NO_FILES = "this gateway has no files. To a machine of yours behind an alias: `sftp -J localhost:SSHPORT you@ALIAS`"
NO_SHELL = "there is no shell here"
OWN_ONLY = "through this gateway you can reach your own aliases and ports only: for others ask for permitopen="

SERVEO = [
    Line("ssh -R 80:localhost:3000 gw", out=(WEB, KEPT)),
    Line(
        "ssh -R 80:localhost:3000 -R 80:localhost:3001 gw",
        out=(WEB,),
        err=("Refused -R 80: ssh would send both -R 80 to the first target: write -R one:80:... -R two:80:...",),
    ),
    Line("ssh -R NAME:80:localhost:3000 gw", out=(NAMED,), visited=200, then=("GET / 200",)),
    Line("ssh -R NAME.localhost:80:localhost:3000 gw", out=(NAMED,), visited=200),
    Line("ssh -R 80:localhost:3000 NAME@gw", out=(WEB, KEPT)),
    Line(
        "ssh -R NAME:22:localhost:22 gw", out=("Forwarding private alias NAME:22", "ssh -J localhost:SSHPORT you@NAME")
    ),
    Line("ssh -J gw you@NAME", 255, err=(NO_ALIAS,)),
    Line("ssh -o ProxyCommand='ssh -W NAME:22 gw' you@NAME", 255, err=(NO_ALIAS,)),
    Line(
        "ssh -R 1492:localhost:1492 gw",
        1,
        err=(
            "Refused -R 1492: port 1492 is outside …: write -R 80:localhost:PORT for a web address of your local service at PORT",
        ),
    ),
    Line(
        "ssh -R NAME.example.com:80:localhost:3000 gw",
        1,
        err=("NAME.example.com is not one name below localhost: write -R NAME:80:... for NAME.localhost",),
    ),
    Line("autossh -M 0 -R NAME:80:localhost:3000 gw", out=(NAMED,), visited=200),
]
LOCALHOST_RUN = [
    Line("ssh -R 80:localhost:3000 nokey@gw", out=(WEB, f"  you came without a key: the name {NEW_EACH_TIME}")),
    Line(
        "ssh -R 0:localhost:3000 nokey@gw",
        out=(TCP, f"  you came without a key: the port {NEW_EACH_TIME}"),
        err=("Allocated port",),
    ),
    Line(
        "ssh -R 443:localhost:3000 gw",
        out=(WEB, "  the gateway speaks TLS to your local service and does not check its certificate"),
    ),
    Line("ssh -R NAME:443:localhost:3000 gw", out=(NAMED,), visited=502, then=("write -R 80:... instead",)),
    Line(
        "ssh -R NAME:80:localhost:3000 gw -- --output json",
        out=('{"event": "forward", "status": "success", "kind": "http", "address": "NAME.localhost"',),
        visited=200,
        then=('{"event": "visit", "address": "NAME.localhost", "method": "GET"',),
    ),
    Line("ssh -R 80:localhost:3000 gw -- --no-inject-http-proxy-headers", 1, err=(f"{LISTS}. {CLOSED}",)),
]
SISH = [
    Line(
        "ssh -R 2222:localhost:22 gw",
        1,
        err=(
            "Refused -R 2222: port 2222 is outside …: write -R 80:localhost:PORT for a web …:2222:... for a private alias",
        ),
    ),
    Line("ssh -L HOME/l:NAME:80 gw", 0, out=("-L and -D reach your own aliases and ports only",)),
    Line(
        "ssh -R NAME:80:localhost:3000 gw tcp-alias=true",
        1,
        err=(f"leave it out: -R …:PORT:... is a private alias, with a port that is not 80 or 443. {CLOSED}",),
    ),
    Line("ssh -R NAME.localhost:443:localhost:3000 gw sni-proxy=true", 1, err=(OTHERS,)),
    Line(
        "ssh -R NAME:3000:localhost:3000 gw tcp-aliases-allowed-users=SHA256:4vNG",
        1,
        err=("only your own keys reach a private alias: -R …:PORT:...",),
    ),
    Line("ssh -R 80:localhost:3000 gw deadline=15m", 1, err=(OTHERS,)),
    Line(
        "ssh -R 'user\\:pass@NAME:80:localhost:3000' gw",
        1,
        err=("a name cannot contain a user name or a password: write -R NAME:80:...",),
    ),
    Line("ssh -R NAME:80:localhost:3000 gw strip-path=true", 1, err=(OTHERS,)),
    Line(
        "ssh -R '[user:pass@NAME]:80:localhost:3000' gw",
        1,
        err=("a name cannot contain a user name or a password: write -R NAME:80:...",),
    ),
    Line("ssh -R NAME/api:80:localhost:3000 gw", 1, err=("a name has no path: write -R NAME:80:...",)),
]
SANDHOLE = [
    Line(
        "ssh -R website.com:80:localhost:3000 gw force-https host=some.host http2",
        1,
        err=("leave it out: share the https:// address; this gateway does not redirect",),
    ),
    Line("ssh -R NAME:80:localhost:3000 gw ip-allowlist=10.0.0.0/8", 1, err=(NO_ADDRESSES,)),
    Line("ssh -R NAME:80:localhost:3000 gw pool=16", 1, err=(OTHERS,)),
    Line("ssh -R NAME:80:localhost:3000 gw ip-blocklist=10.1.0.0/16", 1, err=(NO_ADDRESSES,)),
    Line(
        "ssh -R NAME:3000:localhost:3000 gw allowed-fingerprints=SHA256:4vNG",
        1,
        err=("only your own keys reach a private alias: -R …:PORT:...",),
    ),
    Line(
        "ssh -R udp.sandhole:9999:localhost:3000 gw", 1, err=("is not one name below localhost: write -R udp:9999:...",)
    ),
    Line("ssh -t gw admin", 1, err=(f"unknown word 'admin': {LISTS}; {NO_SHELL}.",)),
]
SRV_US = [
    Line(
        "ssh gw -R 1:localhost:3000 -R 2:localhost:3001",
        1,
        err=(
            "Refused -R 1: port 1 is outside …:80:... for a web address",
            "Refused -R 2: port 2 is outside …:80:... for a web address",
        ),
    ),
]
PINGGY = [
    Line("ssh -p SSHPORT -R0:localhost:3000 gw", out=(TCP, WEB_INSTEAD), err=("Allocated port",)),
    Line("ssh -R0:localhost:3000 -L HOME/l:localhost:4300 gw", out=(TCP, WEB_INSTEAD)),
    Line(
        "ssh -t -R0:localhost:3000 tcp@gw",
        out=(TCP,),
        err=("the login name 'tcp' asks for nothing here: -R 0:localhost:PORT is a TCP port",),
    ),
    Line(
        "ssh -R0:localhost:3000 token+qr@gw",
        out=(TCP,),
        err=("the login name 'qr' asks for nothing here: press r in the session, in a terminal",),
    ),
    Line("ssh -R NAME:80:localhost:3000 gw b:user:pass", 1, err=(f"unknown word 'b:user:pass': {NO_PASSWORD}",)),
    Line("ssh -R0:localhost:3000 gw x:noreverseproxy", 1, err=("Allocated port", OTHERS)),
    Line(
        "ssh -R0:localhost:3000 force@gw",
        out=(TCP,),
        err=("the login name 'force' asks for nothing here: your newest connection takes over by itself",),
    ),
    Line("ssh -R NAME:80:localhost:3000 gw k:token", 1, err=(NO_PASSWORD,)),
    Line('ssh -t -R0:localhost:3000 tcp@gw \\"w:192.0.2.0/24\\"', 1, err=(NO_ADDRESSES,)),
    Line("ssh -R NAME:80:localhost:3000 gw w:192.0.2.0/24", 1, err=(NO_ADDRESSES,)),
    Line("ssh -R NAME:80:localhost:3000 gw x:https", 1, err=(f"leave it out: share the https:// address; …{CLOSED}",)),
    Line("ssh -R NAME:80:localhost:3000 gw a:X-Name:value", 1, err=(OTHERS,)),
]
NGROK = [
    Line(
        "ssh -R 443:localhost:3000 v2@gw http",
        1,
        err=(f"write `ssh -R 80:localhost:PORT -p SSHPORT localhost`. {CLOSED}",),
    ),
    Line(
        "ssh -R NAME.localhost:443:localhost:3000 v2@gw http --basic-auth 'u1:p1' --basic-auth 'u2:p2'",
        1,
        err=(f"unknown word '--basic-auth': {NO_PASSWORD}",),
    ),
    Line(
        "ssh -R '*.NAME.localhost:443:localhost:3000' gw",
        1,
        err=("wildcard names are not offered: write -R NAME:443:...",),
    ),
    Line(
        "ssh -R 0:localhost:22 v2@gw tcp", 1, err=(f"write `ssh -R 0:localhost:PORT -p SSHPORT localhost`. {CLOSED}",)
    ),
    Line(
        "ssh -R 1.tcp.eu.ngrok.io:12345:localhost:3000 v2@gw tcp",
        1,
        err=("unknown word 'tcp': -R says it all: write `ssh -R 0:localhost:PORT -p SSHPORT localhost`.",),
    ),
    Line("ssh -R NAME.localhost:443:localhost:3000 v2@gw tls", 1, err=("write `ssh -R 443:localhost:PORT",)),
    Line("ssh gw http 8080", 1, err=("-R says it all: write `ssh -R 80:localhost:8080 -p SSHPORT localhost`.",)),
    Line("ssh gw tls 8443", 1, err=("-R says it all: write `ssh -R 443:localhost:8443 -p SSHPORT localhost`.",)),
    Line("ssh v2@gw -- --help", 1, err=("unknown word '--help': did you mean help?",)),
]
TUNNELTO_AND_OTHERS = [
    Line(
        "ssh gw -- --port 8080 --subdomain NAME",
        1,
        err=("-R says it all: write `ssh -R 80:localhost:8080 -p SSHPORT localhost`.",),
    ),
    Line(
        "ssh -R 80:localhost:3000 gw -- --subdomain NAME",
        1,
        err=(f"the name stands before the port: -R …:80:localhost:PORT. {CLOSED}",),
    ),
    Line(
        "ssh -R :80:127.0.0.1:3000 v0@gw http --proxy_name test --custom_domain test.example.com",
        1,
        err=(f"write `ssh -R 80:localhost:PORT -p SSHPORT localhost`. {CLOSED}",),
    ),
    Line("ssh -N -R 0::3000 gw", err=("Allocated port",)),
    Line(
        "ssh -R :80:127.0.0.1:3000 v0@gw tcp --remote_port 9090 --token T",
        1,
        err=(f"write `ssh -R 0:localhost:PORT -p SSHPORT localhost`. {CLOSED}",),
    ),
    Line("ssh -R 80:localhost:3000 gw -- --host-header=rewrite", 1, err=(f"write host-header=localhost. {CLOSED}",)),
]
AUTOSSH = [
    Line("autossh -M 0 -N -R NAME:80:localhost:3000 gw", visited=200),
    Line("autossh -M 0 -N -o ExitOnForwardFailure=yes -R admin:80:localhost:3000 gw", 1, err=(ADMIN,)),
]
PUTTY = [
    Line("plink -R NAME:80:localhost:3000 gw", out=(NAMED,), visited=200),
    Line("plink -R NAME:80:localhost:3000 gw output=json", out=('"address": "NAME.localhost"',)),
    Line("plink -N -R admin:80:localhost:3000 gw", 1, err=(ADMIN,)),
    Line("plink -R NAME:80:localhost:3000 gw auth=me:secret", 1, err=(NO_PASSWORD,)),
]
DROPBEAR = [
    Line("dbclient -R NAME:80:localhost:3000 gw", out=(NAMED,), visited=200),
    Line("dbclient -R NAME:80:localhost:3000 gw output=json", out=('"address": "NAME.localhost"',)),
    Line("dbclient -R admin:80:localhost:3000 gw", 1, err=(ADMIN,)),
    Line("dbclient -N -R admin:80:localhost:3000 gw", err=("Remote TCP forward request failed",)),
]
OPENSSH = [
    Line("ssh gw", 0, out=("key SHA256:", "To forward: ssh -R 80:localhost:… -p SSHPORT localhost")),
    Line("ssh gw help", 0, out=("A web address for a local service:",)),
    Line("ssh gw uname -a", 1, err=(f"unknown word 'uname': {LISTS}; {NO_SHELL}.",)),
    Line("ssh gw exit", 1, err=(f"unknown word 'exit': {NO_SHELL} to leave: Ctrl-C ends a session",)),
    Line("ssh gw status", 1, err=("unknown word 'status': `ssh -p SSHPORT localhost ls` lists your tunnels",)),
    Line("sftp gw", 255, err=(NO_FILES,)),
    Line("scp HOME/config gw:", 255, err=(NO_FILES,)),
    Line("scp -O HOME/config gw:", 1, err=(NO_FILES,)),
    Line(
        "DISPLAY=:9 ssh -Y gw",
        0,
        out=("To forward: ",),
        err=("Refused -X: this gateway does not forward X11, only TCP: leave -X out",),
    ),
    Line("ssh -D FREE gw", 0, out=("-L and -D reach your own aliases and ports only",)),
    Line("ssh -W example.com:80 gw", 255, err=(OWN_ONLY,)),
    Line("ssh -N -R admin:80:localhost:3000 gw", 255, err=(ADMIN,)),
    Line("ssh -R 80:3000 gw", 1, err=("Refused -R 80:3000: this names no local service: write -R 80:localhost:3000",)),
    Line(
        "ssh -R 8080 gw",
        1,
        err=("Refused -R 8080: …write -R 80:localhost:PORT for a web address of your local service at PORT",),
    ),
    Line(
        "ssh -R NAME:80 gw",
        out=(NAMED,),
        visited=502,
        then=("if your -R 80 names no local service,", "-R 80:localhost:"),
    ),
    Line(
        "ssh -R NAME:3000:localhost:3000 gw",
        out=("Forwarding private alias NAME:3000", "for a web address instead: ssh -R NAME:80:..."),
    ),
    Line("ssh -R LOOPBACK:localhost:3000 gw", out=(f"{TCP}LOOPBACK",)),
    Line(
        "ssh -R HOME/s:localhost:3000 gw",
        1,
        err=("this gateway forwards no Unix sockets: write -R …:80:... or -R 0:...",),
    ),
    Line(
        "ssh -R NAME:80:localhost:9 gw",
        out=(NAMED,),
        err=("connect_to localhost port 9: failed.",),
        visited=502,
        then=("your local service cannot be reached: does it run, and on that port?",),
    ),
    Line("ssh -N -R 80:localhost:3000 web", 255, err=("Port SSHPORT does: ssh -p SSHPORT localhost",)),
    Line(
        "ssh -R bad_name:80:localhost:3000 gw",
        1,
        err=("name 'bad_name' has '_' in it: use letters, digits and hyphens",),
    ),
    Line("ssh -R '*:80:localhost:3000' gw", out=(WEB,)),
    Line("ssh -R NAME:80:localhost:3000 gw sleep infinity", 1, err=(f"leave it out: a forward stays up …{CLOSED}",)),
    Line(
        "ssh -R NAME:80:localhost:3000 -R NAME:443:localhost:3000 gw",
        out=(NAMED,),
        err=("Refused -R NAME:443: …holds NAME.localhost already, for http:// and https:// alike: leave this one out",),
    ),
    Line("ssh -R NAME:80:HOME/app.sock gw", out=(NAMED,), visited=502, then=("your local service cannot be reached",)),
    Line("ssh -R NAME:0:localhost:3000 gw", 1, err=("a name with port 0 means nothing: write -R NAME:80:...",)),
    Line("ssh -R HTTPPORT:localhost:3000 gw", out=(WEB,)),
    Line("ssh -R localhost:80:localhost:3000 gw", out=(WEB,)),
    Line("ssh -R 80:localhost:3000 gw ls", 0, out=("http://…",)),
    Line(
        "ssh -w 0:0 gw",
        0,
        out=("To forward: ",),
        err=("Refused -w: …it is no VPN (no -w): WireGuard is made for that",),
    ),
    Line(
        "git clone gw:repo HOME/repo", 128, err=(f"unknown word 'git-upload-pack': {LISTS}; there are no repositories",)
    ),
    Line("ssh -s gw sftp", 1, err=(NO_FILES,)),
    Line("ssh gw list", 1, err=("unknown word 'list': did you mean ls?",)),
    Line("ssh gw ls -l", 1, err=("ls takes no argument, but '-l' follows it: leave it out.",)),
    Line("ssh gw release", 1, err=("release takes a name: write release …(`names` lists yours)",)),
]
LINES = [
    *SERVEO, *LOCALHOST_RUN, *SISH, *SANDHOLE, *SRV_US, *PINGGY, *NGROK, *TUNNELTO_AND_OTHERS, *AUTOSSH, *PUTTY,
    *DROPBEAR, *OPENSSH,
]  # fmt: skip
UNKNOWN_KEY = "this gateway does not know your key"
ALLOW = "ferry:   ferry allow SHA256:"
STRANGERS = [
    Line("ssh gw", 255, err=(UNKNOWN_KEY, ALLOW, "Permission denied (publickey")),
    Line("ssh -N -R 80:localhost:3000 nokey@gw", 255, err=(UNKNOWN_KEY, ALLOW)),
    Line("sftp gw", 255, err=(UNKNOWN_KEY, ALLOW)),
    Line("plink gw", 1, err=(UNKNOWN_KEY, ALLOW)),
    Line("dbclient gw", 1, err=(UNKNOWN_KEY, ALLOW)),
]
BANNER = "ferry: "
"""A line of the log-in. Only a key that is not let in gets one, so that scripts read what the command itself says."""
FIXES = "write|ask for|leave it out|ssh -p|stands before|sftp -J|private alias|ferry allow|did you mean|for a web|use |Ctrl-C"
"""What a text that helps has in it."""


@pytest.fixture
def desk(gateway: Gateway, tmp_path: Path, key: Path, name: str, origin: Origin) -> Desk:
    home = tmp_path / "home"
    home.mkdir()
    return Desk(home, gateway, key, {"NAME": name, "3000": str(origin.port)})


def read(desk: Desk, line: Line) -> None:
    """Type it, and compare what happens with the row."""
    if "LOOPBACK" in line.typed:
        desk.words["LOOPBACK"] = str(next(desk.gateway.loopback_ports))
    with desk.type(line.typed) as child:
        if line.code is not None:
            assert child.exit_code() == line.code, f"{child.out.text}\n--- and on standard error:\n{child.err.text}"
            assert desk.words["NAME"] not in str(desk.gateway.ask("tunnels"))
        for text in line.out:
            child.line(desk.pattern(text))
        if line.visited is not None:
            desk.gateway.event(rf'"tunnel.opened".*"{desk.words["NAME"]}')
            assert visit(desk.gateway, desk.words["NAME"]).status == line.visited
        for text in line.then:
            child.line(desk.pattern(text))
        for text in line.err:
            child.error_line(desk.pattern(text))
        assert child.running == (line.code is None)
        assert BANNER in "".join(line.err) or BANNER not in child.err.text
        assert bool(child.out.lines) == bool(line.out), child.out.text


@pytest.mark.parametrize("line", LINES, ids=[line.typed for line in LINES])
def test_a_command_line(desk: Desk, line: Line) -> None:
    read(desk, line)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that lets in one key, which nobody here has."""
    folder = tmp_path_factory.mktemp("closed")
    known = make_key(folder / "known").with_suffix(".pub")
    with gateway_in(folder, access={"mode": "keys", "keys": [str(known)]}) as running:
        yield running


@pytest.mark.parametrize("line", STRANGERS, ids=[line.typed for line in STRANGERS])
def test_a_command_line_of_somebody_who_is_not_let_in(closed: Gateway, tmp_path: Path, key: Path, line: Line) -> None:
    read(Desk(tmp_path, closed, key, {"NAME": "nobody"}), line)


def test_every_refusal_of_the_table_has_its_reason_and_its_fix() -> None:
    bad = [
        line.typed for line in LINES + STRANGERS if line.code and not any(re.search(FIXES, text) for text in line.err)
    ]
    assert bad == []
    assert len(LINES) + len(STRANGERS) > 60
