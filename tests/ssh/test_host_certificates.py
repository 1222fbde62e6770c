"""Certificates of host keys: which count, and what is told of the others."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest

from ferry.errors import InvalidInput
from ferry.ssh.host_certificates import HostCertificates, check_host_certificate, read_host_certificates
from ferry.ssh.host_keys import certificate_of
from hand_clock import StandingClock
from made_certificate import made_blob, options, text

NOW = 1_900_000_000.0
ED25519 = "ssh-ed25519"


@pytest.fixture(scope="module")
def ca() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(ED25519)


@pytest.fixture(scope="module")
def host() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(ED25519)


def signed(ca: asyncssh.SSHKey, host: asyncssh.SSHKey, *, wrong: bool = False, **fields: Any) -> bytes:
    """The line of a certificate for `host`."""
    given: dict[str, Any] = {
        "kind": 2,
        "ca": ca.public_data,
        "key": text(host.public_data[-32:]),
        "extensions": b"",
    } | fields
    blob = made_blob(**given)
    body = blob.removesuffix(text(b"signature"))
    signature = ca.sign(b"other" if wrong else body, ED25519.encode())
    return b"ssh-ed25519-cert-v01@openssh.com " + base64.b64encode(body + text(signature)) + b" gw\n"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"before": int(NOW) + 1}, None),
        ({"after": int(NOW)}, None),
        ({"kind": 1}, "it is a user's certificate: sign the host key with ssh-keygen -s CA -h"),
        ({"key": text(b"o" * 32)}, "it is for another key: sign the .pub file"),
        ({"critical": options(("source-address", text("192.0.2.1")))}, "it has critical options, which no client takes"),
        ({"before": int(NOW)}, "it has run out: sign the host key again"),
        ({"before": 1}, "it has run out: sign the host key again"),
        ({"after": int(NOW) + 1}, "it is not valid yet: sign the host key again"),
        ({"wrong": True}, "the signature of its CA is wrong, or made with SHA-1"),
    ],
    ids=["good", "last second", "first second", "user", "key", "critical", "over", "long over", "early", "signature"],
)  # fmt: skip
def test_a_certificate_that_no_client_would_take_says_what_to_do(
    ca: asyncssh.SSHKey, host: asyncssh.SSHKey, fields: dict[str, Any], why: str | None
) -> None:
    line = signed(ca, host, **fields)
    if why is None:
        assert check_host_certificate(line, host.public_data, NOW).key == host.public_data
    else:
        with pytest.raises(InvalidInput) as wrong:
            check_host_certificate(line, host.public_data, NOW)
        assert str(wrong.value).startswith(why)


@pytest.mark.parametrize("line", [b"", b"ssh-ed25519-cert-v01@openssh.com", b"\n"])
def test_a_file_without_a_certificate_is_none(host: asyncssh.SSHKey, line: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^it is no certificate: sign the host key with ssh-keygen"):
        check_host_certificate(line, host.public_data, NOW)


class Stage:
    """The gateway's one host key, and its certificates in a folder."""

    def __init__(self, folder: Path, host: asyncssh.SSHKey) -> None:
        self.folder = folder
        self.reports: list[tuple[str, dict[str, object]]] = []
        (self.pair,) = asyncssh.load_keypairs([host])
        self.options = cast(Any, type("Options", (), {})())
        self.options.server_host_keys = {ED25519.encode(): self.pair}
        self.clock = StandingClock(NOW)
        self.certificates = HostCertificates(folder, cast(Any, [host]), self.options, self.clock, self._report)

    def _report(self, event: str, /, **fields: object) -> None:
        self.reports.append((event, fields))

    def write(self, line: bytes | None) -> None:
        path = certificate_of(self.folder, ED25519)
        if line is None:
            path.unlink()
        else:
            path.write_bytes(line)

    def look(self) -> list[str]:
        """Look at the files. The events that are new."""
        self.reports.clear()
        self.certificates.use(self.certificates.read())
        return [event for event, _ in self.reports]

    @property
    def offered(self) -> list[bytes]:
        return list(self.options.server_host_keys)


WITH_CERTIFICATE = [b"ssh-ed25519", b"ssh-ed25519-cert-v01@openssh.com"]


def test_a_certificate_is_offered_from_when_it_is_there_until_it_is_not(
    ca: asyncssh.SSHKey, host: asyncssh.SSHKey, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, host)
    assert (stage.look(), stage.offered) == ([], WITH_CERTIFICATE[:1])
    stage.write(signed(ca, host))
    assert (stage.look(), stage.offered) == (["certificate.loaded"], WITH_CERTIFICATE)
    offered = stage.options.server_host_keys[WITH_CERTIFICATE[1]]
    assert (stage.look(), stage.offered) == ([], WITH_CERTIFICATE)
    assert stage.options.server_host_keys[WITH_CERTIFICATE[1]] is offered, "nothing is new"
    stage.write(signed(ca, host, kind=1))
    assert (stage.look(), stage.offered) == (["certificate.rejected", "certificate.loaded"], WITH_CERTIFICATE[:1])
    assert "it is a user's certificate" in str(stage.reports[0][1]["error"])
    assert stage.look() == []
    stage.write(signed(ca, host, wrong=True))
    assert (stage.look(), stage.offered) == (["certificate.rejected"], WITH_CERTIFICATE[:1])
    stage.write(None)
    assert (stage.look(), stage.offered) == ([], WITH_CERTIFICATE[:1])


def test_a_certificate_runs_out_while_the_gateway_runs(
    ca: asyncssh.SSHKey, host: asyncssh.SSHKey, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, host)
    stage.write(signed(ca, host, before=int(NOW) + 10))
    assert (stage.look(), stage.offered) == (["certificate.loaded"], WITH_CERTIFICATE)
    stage.clock.seconds += 11
    assert (stage.look(), stage.offered) == (["certificate.rejected", "certificate.loaded"], WITH_CERTIFICATE[:1])


def test_a_file_that_cannot_be_read_is_told_and_a_missing_one_is_not(host: asyncssh.SSHKey, tmp_path: Path) -> None:
    keys = {ED25519: host.public_data}
    assert not read_host_certificates(tmp_path, keys, NOW).bad
    certificate_of(tmp_path, ED25519).mkdir()
    (bad,) = read_host_certificates(tmp_path, keys, NOW).bad
    assert bad.path == certificate_of(tmp_path, ED25519)
    assert bad.why
