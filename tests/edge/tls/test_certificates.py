"""The choice of a certificate for a real client, and changes of the folder."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ferry import limits
from ferry.clock import SystemClock
from ferry.edge.tls.certificate_folder import CertificateFolder, Pair, load_pair
from ferry.edge.tls.certificates import Certificates
from ferry.edge.tls.context import sni_of
from ferry.edge.tls.local_ca import Certificate, LocalCa
from ferry.errors import InvalidInput
from ferry_command import clean_environment

CERTIFICATE_PAIRS = 4096
BOTH_LOOPS = True


class World:
    """A folder of certificates, a local CA for `localhost`, and what was reported."""

    def __init__(self, tmp_path: Path) -> None:
        self.state = tmp_path / "state"
        self.folder = tmp_path / "certificates"
        self.folder.mkdir()
        self.live = {"localhost", "a.localhost", "b.localhost", "out.example.com"}
        self.events: list[tuple[str, dict[str, object]]] = []
        self.certificates = Certificates(
            domain="localhost",
            local=LocalCa.open(self.state, "localhost", clock=SystemClock()),
            allowed=lambda host: host in self.live,
            report=self.report,
            clock=SystemClock(),
        )

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def rejected(self) -> list[str]:
        return [str(fields["error"]) for event, fields in self.events if event == "certificate.rejected"]

    def put(self, stem: str, *names: str, days: int = 30, certbot: bool = False) -> None:
        """Make a self-signed pair with openssl."""
        certificate, key = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        if certbot:
            (self.folder / stem).mkdir(exist_ok=True)
            certificate, key = self.folder / stem / "fullchain.pem", self.folder / stem / "privkey.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
            + (["-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)] if names else [])
            + ["-days", str(days), "-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )  # fmt: skip

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sni = sni_of(writer.get_extra_info("ssl_object"))
            await reader.readuntil(b"\r\n\r\n")
            body = f"{sni} {writer.get_extra_info('ssl_object').selected_alpn_protocol()}"
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.certificates.context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def presented(self, port: int, name: str | None) -> bytes:
        """The certificate that a client who asks for `name` is shown (DER)."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return shown

    def on_disk(self, path: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert((self.folder / path).read_text())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def curl(port: int, host: str, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("curl", "-q", "-sS", "--max-time", "5", "--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean_environment(),
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("version", ["--tlsv1.3", "--tls-max 1.2"])
async def test_curl_with_the_local_ca(world: World, version: str) -> None:
    trust = ["--cacert", str(world.state / "ca" / "ca.crt"), *version.split()]
    async with world.serving() as port:
        assert await curl(port, "localhost", *trust) == (0, "localhost http/1.1")
        assert await curl(port, "A.LocalHost", *trust) == (0, "a.localhost http/1.1")
        code, output = await curl(port, "a.localhost", "--cacert", "/etc/ssl/certs/ca-certificates.crt")
        assert code != 0, output


async def test_names_without_a_tunnel_or_outside_the_domain_get_no_certificate(world: World) -> None:
    for host in ("c.localhost", "out.example.com"):
        assert world.certificates.certificate_for(host) is None
        async with world.serving() as port:
            with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                await world.presented(port, host)
    world.live.add("c.localhost")
    assert world.certificates.certificate_for("c.localhost") is not None


async def test_a_client_without_sni_gets_the_domains_certificate(world: World) -> None:
    async with world.serving() as port:
        assert await world.presented(port, None) == await world.presented(port, "localhost")


async def test_exact_before_wildcard_before_local_ca(world: World) -> None:
    world.put("wild", "*.localhost", "*.example.com")
    world.put("exact", "a.localhost", certbot=True)
    await world.certificates.use_folder(world.folder)
    async with world.serving() as port:
        assert await world.presented(port, "a.localhost") == world.on_disk("exact/fullchain.pem")
        assert await world.presented(port, "b.localhost") == world.on_disk("wild.crt")
        # a folder's certificate is shown for names that nobody holds too: the answer is then a 404 page
        assert await world.presented(port, "nobody.example.com") == world.on_disk("wild.crt")
        assert await world.presented(port, "localhost") not in (
            world.on_disk("exact/fullchain.pem"),
            world.on_disk("wild.crt"),
        )
    of = world.certificates.certificate_for
    assert of("b.localhost") is of("C.example.com.")
    assert of("b.localhost") is not of("a.localhost")
    assert of("x.y.example.com") is None  # a wildcard is one label
    assert of("localhost") is of("localhost")
    covers = world.certificates.covers
    assert [covers(host) for host in ("a.localhost", "b.localhost", "localhost", "x.y.example.com")] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(("long", "short"), [("1", "2"), ("2", "1")])
async def test_of_two_certificates_for_a_name_the_longer_valid_one_is_used(world: World, long: str, short: str) -> None:
    """In whichever order they are read."""
    world.put(long, "a.localhost", days=60)
    world.put(short, "a.localhost", days=10)
    await world.certificates.use_folder(world.folder)
    async with world.serving() as port:
        assert await world.presented(port, "a.localhost") == world.on_disk(f"{long}.crt")


async def test_reload_while_serving(world: World) -> None:
    world.put("a", "a.localhost")
    await world.certificates.look()  # there is no folder yet
    await world.certificates.use_folder(world.folder)
    loaded = len(world.events)
    async with world.serving() as port:
        old = world.on_disk("a.crt")
        assert await world.presented(port, "a.localhost") == old
        world.put("a", "a.localhost")
        await world.certificates.look()
        assert len(world.events) > loaded
        assert await world.presented(port, "a.localhost") == world.on_disk("a.crt") != old
        (world.folder / "a.crt").unlink()
        for _ in range(2):  # a file that is missing at one look may be back at the next
            assert world.certificates.covers("a.localhost")
            await world.certificates.look()
        assert not world.certificates.covers("a.localhost")


async def test_a_folder_that_may_not_be_read_is_reported_and_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `lost+found` of a disk, or certbot's folders of root: it ended the start, or all later reading."""
    world.put("a", "a.localhost")
    (world.folder / "roots").mkdir()
    whole = Path.exists

    def barred(path: Path) -> bool:
        if path.parent.name == "roots":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "exists", barred)  # root may look everywhere
    await world.certificates.use_folder(world.folder)
    assert world.certificates.covers("a.localhost")
    assert [event for event, _ in world.events] == ["certificate.loaded", "certificate.rejected"]
    await world.certificates.look()
    assert len(world.events) == 2


def test_pairs_past_the_bound_are_not_read_and_that_is_reported(world: World) -> None:
    for n in range(4_100):
        (world.folder / f"{n}.crt").touch()
    folder = CertificateFolder(world.folder, clock=SystemClock())
    reading = folder.read(first=True)
    reasons = [reason for path, reason in reading.rejected if path == world.folder]
    assert reasons == ["it has 4100 pairs: 4096 are read"]
    assert len(reading.rejected) - 1 == CERTIFICATE_PAIRS
    assert folder.read().rejected == []  # it is told once


def test_a_file_too_large_for_a_certificate_is_not_read_whole(world: World) -> None:
    """CERTIFICATE_BYTES."""
    world.put("a", "a.localhost")
    pair = Pair(world.folder / "a.crt", world.folder / "a.key")
    pem = pair.certificate.read_bytes()
    pair.certificate.write_bytes(pem.ljust(limits.MIB, b"\n"))
    assert load_pair(pair, now=0.0).names == {"a.localhost"}
    pair.certificate.write_bytes(pem.ljust(limits.MIB + 1, b"\n"))
    with pytest.raises(InvalidInput, match="is larger than 1048576 bytes: keep only the chain"):
        load_pair(pair, now=0.0)


def test_a_broken_pair_keeps_the_old_one_and_is_reported_once(world: World) -> None:
    world.put("a", "a.localhost")
    folder = CertificateFolder(world.folder, clock=SystemClock())
    assert len(folder.read(first=True).loaded) == 1
    [old] = folder.certificates
    good = (world.folder / "a.key").read_text()
    world.put("b", "b.localhost")
    (world.folder / "a.key").write_text((world.folder / "b.key").read_text())
    assert folder.read().rejected == []  # it may be half written
    [(path, error)] = folder.read().rejected
    assert path == world.folder / "a.crt"
    assert "is not the key of" in error
    assert folder.read().rejected == []
    assert old in folder.certificates
    (world.folder / "a.key").write_text(good)
    assert len(folder.read().loaded) == 1


def test_a_pair_that_vanishes_for_a_moment_is_kept(world: World) -> None:
    world.put("a", "a.localhost")
    folder = CertificateFolder(world.folder, clock=SystemClock())
    folder.read(first=True)
    (world.folder / "a.crt").rename(world.folder / "away")
    assert not folder.read().changed
    (world.folder / "away").rename(world.folder / "a.crt")
    assert not folder.read().changed
    (world.folder / "a.crt").touch()  # written again, with the same content
    assert [folder.read().changed, folder.read().changed] == [False, False]
    (world.folder / "a.crt").unlink()
    assert [folder.read().changed, folder.read().changed, folder.certificates] == [False, True, []]


class Ahead(SystemClock):
    """Wrong by so many seconds."""

    ahead = 10 * 365 * 86400.0

    def now(self) -> float:
        return super().now() + self.ahead


def test_a_pair_that_had_expired_by_a_wrong_clock_is_served_once_it_is_right(world: World) -> None:
    world.put("a", "a.localhost")
    clock = Ahead()
    folder = CertificateFolder(world.folder, clock=clock)
    assert len(folder.read(first=True).rejected) == 1
    assert not folder.read().rejected  # it is told once
    clock.ahead = 0
    assert len(folder.read().loaded) == 1
    clock.ahead = Ahead.ahead
    assert not folder.read().changed  # it is served for as long as nothing better is there
    assert len(folder.certificates) == 1


async def test_a_certificate_that_expired_meanwhile_is_served_but_covers_nothing(world: World) -> None:
    """`https://` without the local CA is not promised with it."""
    world.put("a", "a.localhost")
    clock = Ahead()
    clock.ahead = 0
    certificates = Certificates(
        domain="localhost",
        local=LocalCa.open(world.state, "localhost", clock=clock),
        allowed=lambda _host: True,
        report=world.report,
        clock=clock,
    )
    await certificates.use_folder(world.folder)
    shown = certificates.certificate_for("a.localhost")
    assert shown is not None
    assert certificates.covers("a.localhost")
    clock.ahead = Ahead.ahead
    assert not certificates.covers("a.localhost")
    assert certificates.certificate_for("a.localhost") is shown


def test_a_pair_that_changes_while_it_is_read_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new certificate with the old key, or half of it: the next look finds it whole."""
    world.put("a", "a.localhost")
    folder = CertificateFolder(world.folder, clock=SystemClock())
    reads: list[frozenset[str]] = []

    def renewed_meanwhile(pair: Pair, *, now: float) -> Certificate:
        certificate = load_pair(pair, now=now)
        if not reads:
            world.put("a", "b.localhost")
        reads.append(certificate.names)
        return certificate

    monkeypatch.setattr("ferry.edge.tls.certificate_folder.load_pair", renewed_meanwhile)
    first = folder.read(first=True)
    assert (first.loaded, first.rejected, first.changed, folder.certificates) == ([], [], False, [])
    assert [certificate.names for certificate in folder.read().loaded] == [{"b.localhost"}]
    assert not folder.read().changed
    assert reads == [{"a.localhost"}, {"b.localhost"}]


def test_a_pair_with_the_times_and_the_size_of_the_old_one_is_read(world: World) -> None:
    """A tool that keeps times (`cp -p`, `rsync -t`) may write into the same files."""
    world.put("one", "a.example.com")
    world.put("two", "b.example.com")
    files = [(world.folder / f"one.{end}", world.folder / f"two.{end}") for end in ("crt", "key")]
    size = max(file.stat().st_size for each in files for file in each)
    for file in (file for each in files for file in each):
        file.write_text(file.read_text().ljust(size, "\n"))
        os.utime(file, ns=(0, 0))
    folder = CertificateFolder(world.folder, clock=SystemClock())
    assert len(folder.read(first=True).loaded) == 2
    for old, new in files:
        old.write_text(new.read_text())
        os.utime(old, ns=(0, 0))
    assert [read.names for read in folder.read().loaded] == [{"b.example.com"}]


def test_other_files_are_no_pairs(world: World) -> None:
    """What copying programs have in progress, and what people keep beside it."""
    world.put("a", "a.localhost")
    world.put(".b", "b.localhost")
    world.put(".c", "c.localhost", certbot=True)
    world.put("d", "d.localhost", certbot=True)
    (world.folder / "README").write_text("how to renew")
    (world.folder / "empty").mkdir()
    folder = CertificateFolder(world.folder, clock=SystemClock())
    reading = folder.read(first=True)
    assert sorted(name for one in reading.loaded for name in one.names) == ["a.localhost", "d.localhost"]
    assert reading.rejected == []


async def test_a_folder_that_cannot_be_read(world: World) -> None:
    with pytest.raises(InvalidInput, match=r"https\.certificates = .*nowhere cannot be read"):
        await world.certificates.use_folder(world.folder / "nowhere")
    world.put("a", "a.localhost")
    await world.certificates.use_folder(world.folder)
    folder = CertificateFolder(world.folder, clock=SystemClock())
    folder.read(first=True)
    world.folder.rename(world.folder.with_name("away"))
    assert not folder.read().changed
    assert not folder.read().changed
    assert len(folder.certificates) == 1


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("no key", "a.key cannot be read"),
        ("key is a pipe", "a.key cannot be read (it is not a file)"),
        ("certificate is a pipe", "a.crt cannot be read (it is not a file)"),
        ("no names", "names no host"),
        ("not PEM", "is not a PEM certificate"),
        ("empty", "is not a PEM certificate"),
        ("expired", "expired on 20"),
        ("passphrase", "the key has a passphrase"),
        ("huge", "is larger than"),
    ],
)
async def test_errors_are_reported_and_the_local_ca_serves(world: World, damage: str, text: str) -> None:
    certificate, key = world.folder / "a.crt", world.folder / "a.key"
    world.put("a", *([] if damage == "no names" else ["a.localhost"]))
    match damage:
        case "no key":
            key.unlink()
        case "key is a pipe" | "certificate is a pipe":
            path = world.folder / f"a.{'key' if damage.startswith('key') else 'crt'}"
            path.unlink()
            os.mkfifo(path)
        case "not PEM":
            certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "empty":
            certificate.write_text("")
        case "huge":
            certificate.write_text("#" * (1 << 20) + certificate.read_text())
        case "passphrase":
            locked = [
                "openssl",
                "pkey",
                "-in",
                str(key),
                "-aes256",
                "-passout",
                "pass:secret",
                "-out",
                str(key) + ".new",
            ]
            subprocess.run(locked, check=True, capture_output=True)
            key.with_name("a.key.new").rename(key)
        case "expired":
            certificate.write_text(expired(key))
    await world.certificates.use_folder(world.folder)
    [error] = world.rejected()
    assert text in error
    assert not world.certificates.covers("a.localhost")
    assert world.certificates.certificate_for("a.localhost") is not None


def expired(key: Path) -> str:
    """A certificate of `key` that ended yesterday."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from ferry.edge.tls.ca_files import certificate_builder

    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = certificate_builder("x", now - timedelta(days=9), now - timedelta(days=1), private.public_key())
    names = x509.SubjectAlternativeName([x509.DNSName("a.localhost")])
    made = builder.issuer_name(x509.Name([])).add_extension(names, critical=False).sign(private, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()
