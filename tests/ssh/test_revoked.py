"""A key that leaves its file, or moves to another identity there, loses its connections too."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from asyncssh.misc import ChannelOpenError

from access_stand_in import AccessStandIn
from ferry import limits
from ferry.errors import Refusal
from ferry.names import Endpoint, Fingerprint, Identity, IdentityId
from ferry.policy import certificates
from ferry.policy.keys import ANY_KEY, Caller, KeyLine, OtherKey
from ferry.protocol.certificates import Certificate
from ferry.protocol.key_options import parse_options
from ferry.ssh.access import Anyone, judged
from ferry.ssh.revoked import Revoked
from gateway_process import Gateway
from known_system import KNOWN
from made_certificate import made
from raw_client import raw_client

REVOKED_SECONDS = 0.75
LITTLE = 0.1
GONE = "your key may not log in here any more"
RENAMED = "your key has another name= here now, or none: connect again"


NOW = 1_900_000_000.0
PEER = Endpoint("192.0.2.7", 4711)


@dataclass(eq=False)
class Connection:
    identity: Identity
    key_line: KeyLine = ANY_KEY
    user: str = "dev"
    peer: Endpoint = PEER
    host: str = "web.example.com"


class Keys(AccessStandIn):
    """Access for some; `named` have a `name=`."""

    def __init__(self, *keys: str, keyless: bool = False, options: str = "", **named: str) -> None:
        given = dict.fromkeys(keys) | named
        read = parse_options(options, KNOWN)
        self.lines = {key: (KeyLine(name, read),) for key, name in given.items()}
        self.allows_keyless = keyless

    def lines_of(self, fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return self.lines.get(fingerprint, ())


def connection(key: str | None, name: str | None = None, options: str = "") -> Connection:
    identity = Identity(IdentityId(f"of {key}"), name, Fingerprint(key) if key else None, anonymous=not key)
    return Connection(identity, KeyLine(name, parse_options(options, KNOWN)))


def test_a_key_must_be_missing_for_a_while_before_its_connection_ends() -> None:
    ann, ben, revoked = connection("ann"), connection("ben"), Revoked[Connection]()
    half, whole = Keys("ann"), Keys("ann", "ben")
    assert not revoked.look([ann, ben], half, 10, NOW)
    assert not revoked.look([ann, ben], half, 10 + REVOKED_SECONDS - LITTLE, NOW)
    assert not revoked.look([ann, ben], whole, 10 + REVOKED_SECONDS, NOW)
    assert not revoked.suspects
    assert not revoked.look([ann, ben], half, 20, NOW)
    assert revoked.suspects
    assert revoked.look([ann, ben], half, 20 + REVOKED_SECONDS, NOW) == [(ben, GONE)]


@pytest.mark.parametrize(
    ("was", "access", "why"),
    [
        ("alice", Keys(key="bob"), RENAMED),
        (None, Keys(key="bob"), RENAMED),
        ("alice", Keys(key="alice"), None),
        ("alice", Keys("key"), RENAMED),
        (None, Keys("key"), None),
        ("alice", Anyone(), RENAMED),
        ("entered", Keys("key"), None),
        ("entered", Keys(key="bob"), RENAMED),
    ],
)
def test_a_connection_ends_if_its_key_has_another_identity_now(
    was: str | None, access: Keys | Anyone, why: str | None
) -> None:
    """A key that the operator has entered for a name keeps it without a word in its line, and no other key does."""
    one, revoked = connection("key", was), Revoked[Connection]()
    one.identity = replace(one.identity, entered=was == "entered")
    assert not revoked.look([one], access, 0, NOW)
    found = revoked.look([one], access, REVOKED_SECONDS, NOW)
    assert [change for _, change in found if isinstance(change, str)] == ([] if why is None else [why])


def test_a_key_that_has_its_name_back_in_time_stays() -> None:
    one, revoked = connection("key", "alice"), Revoked[Connection]()
    assert not revoked.look([one], Keys(key="al"), 0, NOW)  # half a line, while an editor writes
    assert not revoked.look([one], Keys(key="alice"), REVOKED_SECONDS / 2, NOW)
    assert not revoked.look([one], Keys(key="al"), REVOKED_SECONDS, NOW)


EXPIRED = "your key has expired (expiry-time=): ask the operator for a later time"
ELSEWHERE = "your key may not log in from 192.0.2.7 (from=)"


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        ("", "restrict", KeyLine(options=parse_options("restrict", KNOWN))), ("restrict", "restrict", None),
        ("restrict", "", ANY_KEY), ("", 'from="10.0.0.0/8"', ELSEWHERE), ("", 'expiry-time="20300101Z"', EXPIRED),
        ('expiry-time="20300101Z"', 'expiry-time="20300101Z"', None), ("", 'from="*.example.com"', "its new line"),
    ],
)  # fmt: skip
def test_a_connection_gets_the_new_options_of_its_key(was: str, now: str, change: KeyLine | str | None) -> None:
    """While its line stays, it stays too: sshd ends no connection when a key expires."""
    one, revoked = connection("key", options=was), Revoked[Connection]()
    access = Keys("key", options=now)
    if change == "its new line":
        [change] = access.lines_of(Fingerprint("key"))
    assert not revoked.look([one], access, 0, NOW)
    assert revoked.look([one], access, REVOKED_SECONDS, NOW) == ([] if change is None else [(one, change)])


class Cas(AccessStandIn):
    """A CA with these options in its line; `revoked` are its certificates."""

    allows_keyless = False

    def __init__(self, options: str | None, *, revoked: str = "") -> None:
        self.lines = [] if options is None else [KeyLine(None, parse_options(options, KNOWN))]
        self.refusal = Refusal(revoked, code="key_revoked") if revoked else None

    def lines_of(self, _fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return ()

    def lines_for(self, _certificate: Certificate, _user: str) -> Sequence[KeyLine]:
        return self.lines

    def revocation_of(self, _fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
        return self.refusal


def certified(options: str) -> Connection:
    """A connection that has logged in with a certificate."""
    certificate = made(before=int(NOW) + 1)
    line = certificates.log_in(certificate, Cas(options).lines, Caller("dev", PEER.host, PEER.host, NOW))
    assert isinstance(line, KeyLine)
    return Connection(Identity(IdentityId("web-1"), None, certificate.fingerprint), line)


def test_a_certificate_that_has_run_out_ends_no_connection_and_one_that_is_revoked_does_at_once() -> None:
    """As a key that expires. A list of revoked keys is written on purpose."""
    one, revoked = certified("cert-authority"), Revoked[Connection]()
    for now in (0, REVOKED_SECONDS):
        assert not revoked.look([one], Cas("cert-authority"), now, NOW + 100)
    assert revoked.look([one], Cas("cert-authority", revoked="lost"), 10, NOW) == [(one, "lost")]


def test_a_revoked_key_in_no_file_is_told_no_more_than_any_other_strangers() -> None:
    certificate, caller = made(), Caller("dev", PEER.host, PEER.host, NOW)
    for options, code in (("cert-authority", "key_revoked"), (None, None)):
        found = judged(Cas(options, revoked="lost"), certificate.fingerprint, certificate, caller)
        assert (found.code if isinstance(found, Refusal) else found) == code


def test_a_certificate_gets_the_new_options_of_its_cas_line_or_ends_with_it() -> None:
    one, revoked = certified("cert-authority"), Revoked[Connection]()
    for access in (Cas("cert-authority,restrict"), Cas(None)):
        assert not revoked.look([one], access, 0, NOW)
        [(_, change)] = revoked.look([one], access, REVOKED_SECONDS, NOW)
        if isinstance(change, KeyLine):
            assert change.options.forwards_off == "restrict"
        else:
            assert change == GONE
        revoked = Revoked[Connection]()
    late = Cas("cert-authority,restrict")
    assert not revoked.look([one], late, 0, NOW + 100)
    assert revoked.look([one], late, REVOKED_SECONDS, NOW + 100) == [
        (one, "your certificate has run out: ask for a new one")
    ]


def test_while_a_key_file_or_the_list_of_revoked_keys_cannot_be_read_a_connection_stays() -> None:
    """Nobody knows then what they say."""

    class Unread(Keys):
        def hides(self, _line: KeyLine) -> bool:
            return True

        def revocation_of(self, _fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
            return Refusal("the list cannot be read", code="revoked_keys_unread")

    one, revoked = connection("ann"), Revoked[Connection]()
    for now in (0, REVOKED_SECONDS):
        assert not revoked.look([one], Unread(), now, NOW)


@pytest.mark.parametrize(("access", "ended"), [(Keys(), True), (Keys(keyless=True), False), (Anyone(), False)])
def test_keyless_connections_end_in_keys_mode(access: Keys | Anyone, ended: bool) -> None:
    nobody, revoked = connection(None), Revoked[Connection]()
    assert not revoked.look([nobody], access, 0, NOW)
    assert bool(revoked.look([nobody], access, REVOKED_SECONDS, NOW)) is ended


@pytest.mark.parametrize("way", ["its file is taken away", "a reload lets in others"])
def test_a_connection_with_a_removed_key_ends_and_the_others_stay(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, way: str
) -> None:
    goes, stays = new_key(), new_key()
    folder, other_folder = tmp_path / "keys", tmp_path / "others"
    for into, keys in ((folder, (goes, stays)), (other_folder, (stays,))):
        into.mkdir()
        for key in keys:
            (into / key.with_suffix(".pub").name).write_bytes(key.with_suffix(".pub").read_bytes())
    gateway = start_gateway(access={"mode": "keys", "keys": [folder]})
    with (
        gateway.ssh(tmp_path, goes).start("-N", "-R", "goes:80:127.0.0.1:9") as revoked,
        gateway.ssh(tmp_path, stays).start("-R", "stays:80:127.0.0.1:9") as other,
    ):
        gateway.event('"tunnel.opened".*goes')
        other.line("^Forwarding HTTP")
        seen = gateway.log_lines
        if way == "its file is taken away":
            (folder / goes.with_suffix(".pub").name).unlink()
        else:
            gateway.settings["access"] = {"mode": "keys", "keys": [other_folder]}
            gateway.write_config()
            gateway.running.signal(signal.SIGHUP)
        assert revoked.exit_code() == 255
        assert GONE in revoked.err.text
        assert gateway.event('"connection.closed"', after=seen)["reason"] == GONE
        assert gateway.ask("status")["counts"]["connections"] == 1
        assert other.process.poll() is None


@pytest.mark.parametrize("way", ["the file is gone", "the folder is gone", "the file is too long"])
def test_a_connection_stays_while_its_key_file_cannot_be_read(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path, way: str
) -> None:
    """A disk that is not mounted for a moment ended every tunnel of a fleet, and `/health` said "ok"."""
    folder, others, key, goes = tmp_path / "keys", tmp_path / "others", new_key(), new_key()
    folder.mkdir()
    others.mkdir()
    (others / "goes.pub").write_bytes(goes.with_suffix(".pub").read_bytes())
    file = folder / key.with_suffix(".pub").name
    text = key.with_suffix(".pub").read_text()
    file.write_text(text)
    configured = folder if way == "the folder is gone" else file
    gateway = start_gateway(access={"mode": "keys", "keys": [configured, others]})
    ssh, seen = gateway.ssh(tmp_path, key), gateway.log_lines
    with (
        ssh.start("-R", "stays:80:127.0.0.1:9") as child,
        gateway.ssh(tmp_path, goes).start("-R", "goes:80:127.0.0.1:9") as removed,
    ):
        child.line("^Forwarding HTTP")
        removed.line("^Forwarding HTTP")
        if way == "the file is too long":
            file.write_text(text + "#" * (limits.KEY_FILE_BYTES + 1))
        else:
            configured.rename(tmp_path / "elsewhere")
        rejected = gateway.event('"keys.rejected"', after=seen)
        assert (rejected["path"], "Errno" in str(rejected["error"])) == (str(configured), False)
        (others / "goes.pub").unlink()
        assert removed.exit_code() == 255  # by now the key of the other would have been missing for long enough
        assert ssh.run("-o", "BatchMode=yes", words="whoami").code == 255
        assert child.running
        health, told = gateway.health(), gateway.ask("status")["access"]["error"]
        assert (health["status"], health["access"]) == ("degraded", "failed")
        assert told.startswith(str(configured))
        seen = gateway.log_lines
        if way == "the file is too long":
            file.write_text(text)
        else:
            (tmp_path / "elsewhere").rename(configured)
        gateway.event('"keys.loaded".*"keys": 1', after=seen)
        assert gateway.health()["access"] == "ok"
        assert ssh.run("-o", "BatchMode=yes", words="whoami").code == 0
        file.write_text("# nobody\n")
        assert child.exit_code() == 255
        assert GONE in child.err.text


async def test_a_connection_with_a_renamed_key_ends_and_keeps_nothing_of_its_old_name(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """It went on to reach the private aliases of its former name, and to claim more for it."""

    def write(names: dict[Path, str]) -> None:
        lines = (f"{' '.join(public_words(key))} me@laptop name={name}\n" for key, name in names.items())
        file.write_text("".join(lines))

    moves, stays = new_key(), new_key()
    file = tmp_path / "keys"
    write({moves: "alice", stays: "alice"})
    gateway = await asyncio.to_thread(start_gateway, access={"mode": "keys", "keys": [file]})
    async with raw_client(gateway, moves) as moved, raw_client(gateway, stays) as other:
        assert await moved.forward(b"shop", 80)
        assert await other.forward(b"laptop", 22)
        write({moves: "bob", stays: "alice"})
        await moved.said_at_the_end()
        assert (await asyncio.to_thread(gateway.event, '"connection.closed"'))["reason"] == RENAMED
        assert await other.lives()
        async with raw_client(gateway, moves) as back:
            assert not await back.forward(b"shop", 80)  # alice has it
            with pytest.raises(ChannelOpenError):
                await back.connection.open_connection("laptop", 22)


def public_words(key: Path) -> list[str]:
    return key.with_suffix(".pub").read_text().split()[:2]


def of_two(first: str, second: str, *, options: str = "") -> Connection:
    """A connection that has logged in with two keys; the second's line has these options."""
    one = connection(first, "ann")
    line = KeyLine("ann", parse_options(options, KNOWN))
    one.key_line = replace(one.key_line, beside=(OtherKey(Fingerprint(second), line),))
    return one


async def test_a_key_whose_name_is_taken_out_of_its_line_has_nothing_of_that_name(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """It kept the identity for good, and reached what the other key of that name had."""
    stays, goes, file = new_key(), new_key(), tmp_path / "keys"
    lines = [f"{' '.join(public_words(key))} name=shop\n" for key in (stays, goes)]
    file.write_text("".join(lines))
    gateway = await asyncio.to_thread(start_gateway, access={"mode": "keys", "keys": [file]})
    async with raw_client(gateway, stays) as stayed, raw_client(gateway, goes) as gone:
        assert await stayed.forward(b"box", 22)
        file.write_text(lines[0] + lines[1].replace("name=shop", "root@other"))
        await gone.said_at_the_end()
        assert (await asyncio.to_thread(gateway.event, '"connection.closed"'))["reason"] == RENAMED
        async with raw_client(gateway, goes) as back:
            assert not await back.forward(b"box", 22)
            with pytest.raises(ChannelOpenError):
                await back.connection.open_connection("box", 22)
        assert await stayed.lives()


@pytest.mark.parametrize("access", [Keys(first="ann"), Keys(second="ann"), Keys()])
def test_a_connection_of_two_keys_ends_without_one_of_them(access: Keys) -> None:
    one, revoked = of_two("first", "second"), Revoked[Connection]()
    assert not revoked.look([one], access, 0, NOW)
    assert revoked.look([one], access, REVOKED_SECONDS, NOW) == [(one, GONE)]


@pytest.mark.parametrize(("first", "second"), [("bob", "ann"), ("ann", "bob")])
def test_a_connection_of_two_keys_ends_if_one_gets_another_name(first: str, second: str) -> None:
    one, revoked = of_two("first", "second"), Revoked[Connection]()
    access = Keys(first=first, second=second)
    assert not revoked.look([one], access, 0, NOW)
    assert revoked.look([one], access, REVOKED_SECONDS, NOW) == [(one, RENAMED)]


def test_a_second_key_that_loses_its_name_ends_it_although_the_operator_has_entered_the_first() -> None:
    one, revoked = of_two("first", "second"), Revoked[Connection]()
    one.identity = replace(one.identity, entered=True)
    access = Keys("first", "second")
    assert not revoked.look([one], access, 0, NOW)
    assert revoked.look([one], access, REVOKED_SECONDS, NOW) == [(one, RENAMED)]


def test_a_connection_of_two_keys_gets_the_new_options_of_either() -> None:
    one, revoked = of_two("first", "second", options="restrict"), Revoked[Connection]()
    access = Keys(first="ann", second="ann")
    assert not revoked.look([one], access, 0, NOW)
    [(_, change)] = revoked.look([one], access, REVOKED_SECONDS, NOW)
    assert isinstance(change, KeyLine)
    assert [each.options for each in change.together()] == [parse_options("", KNOWN)] * 2


def test_a_connection_of_two_keys_stays_while_both_stand() -> None:
    one, revoked = of_two("first", "second"), Revoked[Connection]()
    for now in (0, REVOKED_SECONDS):
        assert not revoked.look([one], Keys(first="ann", second="ann"), now, NOW)


def test_a_second_key_on_the_list_of_revoked_ones_ends_it_at_once() -> None:
    class Listed(Keys):
        def revocation_of(self, fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
            return Refusal("revoked", code="key_revoked") if fingerprint == "second" else None

    one = of_two("first", "second")
    assert Revoked[Connection]().look([one], Listed(first="ann", second="ann"), 0, NOW) == [(one, "revoked")]


@pytest.mark.parametrize(
    ("known", "revoked", "code"), [(False, True, None), (True, True, "key_revoked"), (True, False, "")]
)
def test_a_revoked_key_that_no_line_lets_in_is_an_unknown_one(code: str | None, *, known: bool, revoked: bool) -> None:
    """Whoever tries it learns nothing about the list."""

    class Listed(Keys):
        def revocation_of(self, _fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
            return Refusal("revoked", code="key_revoked") if revoked else None

    access = Listed(*(["key"] if known else []))
    found = judged(access, Fingerprint("key"), None, Caller("dev", PEER.host, PEER.host, NOW))
    assert (found and (found.code if isinstance(found, Refusal) else "")) == code
