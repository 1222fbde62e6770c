"""User certificates with stock ssh: who their holders are, and what these read where one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from certificates_made import certify
from ferry_command import ferry
from gateway_process import Gateway
from line_service import LineService, ask
from looks import until
from ssh_command import StockSsh, fingerprint, make_key


class Fleet:
    """A gateway that trusts one CA for all and another by a line, and has a list of revoked keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.of_line, self.stranger = (make_key(folder / name) for name in ("ca", "of_line", "stranger"))
        self.plain = make_key(folder / "plain")
        self.keys, self.cas, self.revoked = (folder / name for name in ("keys", "cas", "revoked"))
        self.keys.write_text(
            f'cert-authority,principals="ops",from="127.0.0.0/8" {public(self.of_line)}{public(self.plain)}'
        )
        self.cas.write_text(public(self.ca))
        self.revoked.write_text("# none\n")
        access = {
            "mode": "keys",
            "keys": [self.keys],
            "trusted_ca_keys": [self.cas],
            "revoked_keys": self.revoked,
        }
        self.gateway = Gateway(folder, {"access": access, "session": {"request_log": False}})
        self._made = 0

    def ssh(self, *arguments: str, ca: Path | None = None, key_id: str = "web-1") -> StockSsh:
        """A client with a new key and a certificate of it."""
        self._made += 1
        key = make_key(self.folder / f"key{self._made}")
        certify(ca or self.ca, key, *(arguments or ("-n", "dev")), key_id=key_id)
        return self.gateway.ssh(self.folder, key)

    def whoami(self, ssh: StockSsh) -> dict[str, object]:
        ended = ssh.run(words="whoami --output json")
        assert ended.code == 0, ended.err
        found: dict[str, object] = json.loads(ended.out)
        return found


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    with made.gateway.serving():
        yield made


def test_a_renewed_certificate_keeps_the_port_and_takes_it_over(fleet: Fleet, lines: LineService) -> None:
    """It has another key and another serial number. The CA and the key id are the same."""
    port, target = next(fleet.gateway.loopback_ports), f"localhost:{lines.port}"
    first, renewed = fleet.ssh("-n", "dev", "-z", "1"), fleet.ssh("-n", "dev", "-z", "2")
    with first.start("-N", "-v", "-R", f"{port}:{target}") as child:
        child.error_line("remote forward success")
        assert ask(port, b"hello\n") == b"HELLO\nbye\n"
        with renewed.start("-N", "-v", "-R", f"{port}:{target}") as newer:
            newer.error_line("remote forward success")
            assert ask(port, b"hello\n") == b"HELLO\nbye\n"
            assert child.exit_code() == 255
            [shown] = [tunnel for tunnel in fleet.gateway.ask("tunnels") if tunnel["address"] == f"port {port}"]
            assert shown["identity"] == f"web-1 (certificate, serial 2, CA {fingerprint(fleet.ca)})"
            listed = ferry("ls", "--state", fleet.gateway.state, cwd=fleet.folder).out
            [line] = [line for line in listed.splitlines() if str(port) in line]
            assert f"web-1 (CA {fingerprint(fleet.ca)[7:16]})" in line, listed
    other_id, other_ca = fleet.ssh(key_id="web-2"), fleet.ssh("-n", "ops", ca=fleet.of_line)
    for another in (other_id, other_ca):
        ended = another.run("-N", "-R", f"{port}:{target}")
        assert ended.code == 255
        assert f"Refused -R {port}" in ended.err


def test_the_tables_tell_certificates_of_two_cas_with_one_key_id_apart(fleet: Fleet, lines: LineService) -> None:
    """A key id may also look like the name of a key."""
    key_id = "web-7 (SHA256:x)"
    ports = [next(fleet.gateway.loopback_ports) for _ in range(2)]
    with (
        fleet.ssh(key_id=key_id).start("-N", "-v", "-R", f"{ports[0]}:localhost:{lines.port}") as one,
        fleet.ssh("-n", "ops", ca=fleet.of_line, key_id=key_id).start(
            "-N", "-v", "-R", f"{ports[1]}:localhost:{lines.port}"
        ) as other,
    ):
        for child in (one, other):
            child.error_line("remote forward success")
        shown = [f"{key_id} (CA {fingerprint(ca)[7:16]})" for ca in (fleet.ca, fleet.of_line)]
        for words in (("ls",), ("ls", "--connections"), ("ls", "--names"), ("ports",)):
            listed = ferry(*words, "--state", fleet.gateway.state, cwd=fleet.folder).out
            for port, who in zip(ports, shown, strict=True):
                [line] = [line for line in listed.splitlines() if str(port) in line]
                assert who in line, listed
    assert listed.splitlines()[0].startswith("HOST")
    assert {line.partition(" (CA")[0] for line in listed.splitlines() if "web-7" in line} == {key_id}


def test_the_holder_of_a_certificate_is_its_key_id_and_a_plain_key_stays_itself(fleet: Fleet) -> None:
    ssh = fleet.ssh("-n", "dev", "-z", "7")
    assert ssh.key is not None
    certificate = {"key_id": "web-1", "serial": 7, "ca": fingerprint(fleet.ca)}
    who = {"event": "whoami", "name": None, "key": fingerprint(ssh.key), "anonymous": False, "certificate": certificate}
    assert fleet.whoami(ssh) == who
    shown = ssh.run(words="whoami").out
    assert shown == f"web-1 (certificate, serial 7, CA {fingerprint(fleet.ca)}) with key {fingerprint(ssh.key)}\n"

    plain = fleet.gateway.ssh(fleet.folder, fleet.plain)
    assert fleet.whoami(plain)["key"] == fingerprint(fleet.plain)
    assert "certificate" not in fleet.whoami(plain)
    certify(fleet.ca, fleet.plain, "-n", "dev", key_id="ann")
    try:
        with_it = plain.run("-o", "PubkeyAcceptedAlgorithms=ssh-ed25519-cert-v01@openssh.com", words="whoami")
        assert with_it.out.startswith(f"ann (certificate, serial 0, CA {fingerprint(fleet.ca)}) with key ")
        assert "certificate" not in fleet.whoami(plain)  # stock ssh offers the key alone first
    finally:
        (fleet.folder / "plain-cert.pub").unlink()


def test_a_certificate_without_a_key_id_names_nobody_so_its_key_does(fleet: Fleet) -> None:
    ssh = fleet.ssh("-n", "dev", key_id="")
    assert ssh.key is not None
    assert fleet.whoami(ssh) == {"event": "whoami", "name": None, "key": fingerprint(ssh.key), "anonymous": False}


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("-n", "ann,ben"), "is for the login names ann, ben, and not for dev: log in as one of them", "principal"),
        (("-n", "dev", "-V", "-2d:-1d"), "your certificate has run out: ask for a new one", "time"),
        (("-n", "dev", "-V", "+1d:+2d"), "your certificate is not valid yet", "time"),
        (("-n", "dev", "-O", "source-address=10.0.0.0/8"), "may not be used from 127.0.0.1 (source-address)", "from"),
        (("-n", "dev", "-O", "critical:sudo@example.com"), "has the critical option sudo@example.com", "options"),
        (("-V", "always:forever"), "your certificate names nobody: sign one with principals", "principal"),
    ],
)
def test_a_refused_certificate_is_explained_to_both(
    fleet: Fleet, arguments: tuple[str, ...], says: str, code: str
) -> None:
    seen = fleet.gateway.log_lines
    ended = fleet.ssh(*arguments, key_id="far away").run("-o", "BatchMode=yes", words="whoami")
    assert (ended.code, says in ended.err) == (255, True), ended.err
    assert "20" not in ended.err.partition(says)[0].rpartition("ferry:")[2]  # no date: nobody has proved the key
    denied = fleet.gateway.event(f'"keys.denied".*certificate_{code}', after=seen)
    assert denied["code"] == f"certificate_{code}"
    assert denied["detail"].startswith("certificate 'far away', serial 0: ")
    assert denied["rule"] == f"{fleet.cas}, line 1: cert-authority"
    bare = fleet.gateway.event('"keys.refused"', after=seen)
    assert bare["certified"] is True, "ssh offers the key of the certificate too"
    fleet.gateway.event('"handshake.ended"', after=seen)
    asked = ("audit", "--key", str(denied["key"]), "--json", "--state", fleet.gateway.state)
    until(lambda: ferry(*asked, cwd=fleet.folder).out != "")
    [record] = [json.loads(line) for line in ferry(*asked, cwd=fleet.folder).out.splitlines()]
    assert record["detail"] == denied["detail"]


def test_a_hosts_certificate_and_one_of_a_strange_ca_let_nobody_in(fleet: Fleet) -> None:
    for ssh in (fleet.ssh("-h", "-n", "dev"), fleet.ssh("-n", "dev", ca=fleet.stranger)):
        ended = ssh.run("-o", "BatchMode=yes", words="whoami")
        assert (ended.code, "this gateway does not know" in ended.err or "Permission denied" in ended.err) == (
            255,
            True,
        )


def test_a_strange_ca_is_named_to_both(fleet: Fleet) -> None:
    ssh = fleet.ssh("-n", "dev", "-z", "3", ca=fleet.stranger, key_id="from afar")
    ended = ssh.run(words="whoami")
    assert ended.code == 255
    why = "ferry: your certificate is from a CA that this gateway does not know:"
    lines = [line.rstrip("\r") for line in ended.err.splitlines()]
    assert lines[lines.index(why) + 1] == f"ferry:   {fingerprint(fleet.stranger)}"
    assert ssh.key is not None
    refused = fleet.gateway.event('"keys.refused".*from afar')
    assert refused["keys"] == [fingerprint(ssh.key)]
    assert refused["certificates"] == [f"from afar serial 3 CA {fingerprint(fleet.stranger)}"]


def test_what_a_certificate_does_not_permit_is_not_permitted(fleet: Fleet) -> None:
    port = next(fleet.gateway.loopback_ports)
    ended = fleet.ssh("-n", "dev", "-O", "clear").run("-N", "-R", f"{port}:localhost:9")
    assert "your certificate may not forward anything: it has no permit-port-forwarding" in ended.err
    forced = fleet.ssh("-n", "dev", "-O", "force-command=/bin/false")
    assert "your certificate runs no commands here (force-command)" in forced.run(words="whoami").err
    with forced.start("-N", "-v", "-R", f"{port}:localhost:9") as child:
        child.error_line("remote forward success")


@pytest.mark.parametrize("what", ["the key", "its fingerprint", "the CA", "the certificate"])
def test_a_revoked_key_loses_its_connections_within_two_seconds(fleet: Fleet, what: str) -> None:
    ssh = fleet.ssh("-n", "ops", ca=fleet.of_line) if what == "the CA" else fleet.ssh()
    stays = fleet.gateway.ssh(fleet.folder, fleet.plain)
    key = ssh.key
    assert key is not None
    said = "the CA of your certificate is" if what == "the CA" else "your key is"
    line = {
        "the key": public(key),
        "its fingerprint": f"{fingerprint(key)} lost\n",
        "the CA": public(fleet.of_line),
        "the certificate": (key.parent / f"{key.name}-cert.pub").read_text(),
    }[what]
    user = "ops" if what == "the CA" else "dev"
    port, other = next(fleet.gateway.loopback_ports), next(fleet.gateway.loopback_ports)
    with (
        ssh.start("-N", "-v", "-R", f"{port}:localhost:9", user=user) as child,
        stays.start("-N", "-v", "-R", f"{other}:localhost:9") as remains,
    ):
        child.error_line("remote forward success")
        remains.error_line("remote forward success")
        try:
            fleet.revoked.write_text(line)
            assert child.exit_code() == 255
            assert f"{said} revoked here: ask the operator" in child.err.text
            ended = ssh.run("-o", "BatchMode=yes", user=user, words="whoami")
            assert (ended.code, f"ferry: {said} revoked here" in ended.err) == (255, True)
            assert remains.running
        finally:
            fleet.revoked.write_text("")
            fleet.gateway.event('"keys.loaded".*"revoked": 0', after=fleet.gateway.log_lines - 1)


def test_nobody_logs_in_while_the_list_of_revoked_keys_cannot_be_read_and_those_who_are_here_stay(fleet: Fleet) -> None:
    ssh, port = fleet.ssh(), next(fleet.gateway.loopback_ports)
    with ssh.start("-N", "-v", "-R", f"{port}:localhost:9") as child:
        child.error_line("remote forward success")
        seen = fleet.gateway.log_lines
        try:
            fleet.revoked.write_bytes(b"SSHKRL\n\0\0\0\0\1 and so on")
            rejected = fleet.gateway.event('"keys.rejected"', after=seen)
            assert "the list is cut short or damaged: copy it again" in rejected["error"]
            fleet.gateway.event('"keys.loaded"', after=seen)
            ended = ssh.run("-o", "BatchMode=yes", words="whoami")
            assert ended.code == 255
            assert "cannot read its list of revoked keys, so nobody may log in: tell the operator" in ended.err
            assert child.running
            health = fleet.gateway.health()
            assert (health["status"], health["access"]) == ("degraded", "failed")
            assert str(fleet.revoked) in fleet.gateway.ask("status")["access"]["error"]
        finally:
            seen = fleet.gateway.log_lines
            fleet.revoked.write_text("")
            fleet.gateway.event('"keys.loaded"', after=seen)
            assert (fleet.gateway.health()["status"], fleet.gateway.health()["access"]) == ("ok", "ok")
    assert fleet.whoami(ssh)["event"] == "whoami"


def test_a_ca_that_is_trusted_no_more_ends_the_connections_of_its_certificates(
    start_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    ca, key, cas = make_key(tmp_path / "ca"), make_key(tmp_path / "key"), tmp_path / "cas"
    certify(ca, key, "-n", "dev")
    cas.write_text(public(ca))
    gateway = start_gateway(access={"mode": "keys", "trusted_ca_keys": [cas]})
    port = next(gateway.loopback_ports)
    with gateway.ssh(tmp_path, key).start("-N", "-v", "-R", f"{port}:localhost:9") as child:
        child.error_line("remote forward success")
        cas.write_text("")
        assert child.exit_code() == 255
        assert "your key may not log in here any more" in child.err.text


def test_a_policy_names_the_holders_of_certificates_by_their_ca_and_key_id(
    start_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    ca, policy = make_key(tmp_path / "ca"), tmp_path / "policy.toml"
    policy.write_text(f'[[rule]]\nwho = ["{fingerprint(ca)}:web-*"]\npublish.ports = ["*"]\n')
    gateway = start_gateway(access={"mode": "keys", "trusted_ca_keys": [ca.with_suffix(".pub")], "policy": policy})
    port = next(gateway.loopback_ports)
    for key_id, allowed in (("web-1", True), ("db-1", False)):
        key = make_key(tmp_path / key_id)
        certify(ca, key, "-n", "dev", key_id=key_id)
        with gateway.ssh(tmp_path, key).start("-N", "-v", "-R", f"{port}:localhost:9") as child:
            child.error_line("remote forward success" if allowed else "the operator's policy does not let you publish")


def test_a_key_is_revoked_where_anybody_may_log_in(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text(public(key))
    gateway = start_gateway(access={"mode": "anyone", "revoked_keys": revoked})
    assert "your key is revoked here" in gateway.ssh(tmp_path, key).run("-o", "BatchMode=yes", words="whoami").err
    other = make_key(tmp_path / "other")
    assert gateway.ssh(tmp_path, other).run(words="whoami").code == 0


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"revoked_keys": "SSHKRL\n\0"}, "the list is cut short or damaged: copy it again"),
        ({"revoked_keys": "secret line\n"}, "line 1: secret is neither a key type nor a fingerprint"),
        ({"revoked_keys": None}, "does not exist: make the file or folder, or correct the path"),
        ({"trusted_ca_keys": "cert-authority ssh-ed25519 AAAA\n"}, "line 1: a trusted CA has no options"),
        ({"authorized_principals": "two ops dev\n"}, "line 1: "),
    ],
)
def test_check_config_names_what_is_wrong_in_these_files(
    tmp_path: Path, files: dict[str, str | None], says: str
) -> None:
    make_key(tmp_path / "ca")
    settings: dict[str, object] = {"mode": "keys", "trusted_ca_keys": [tmp_path / "ca.pub"]}
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).write_text(text)
        settings[name] = [tmp_path / "ca.pub", tmp_path / name] if name == "trusted_ca_keys" else tmp_path / name
    with closing(Gateway(tmp_path, {"access": settings})) as gateway:
        ran = ferry("check-config", "--no-dns", "--config", gateway.write_config(), cwd=tmp_path)
    assert (ran.code, says in ran.out) == (1, True), ran.out
