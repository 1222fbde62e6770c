"""`ferry ca` exports the gateway's own CA to other machines."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from console_commands import run
from ferry.cli.ca import ca
from ferry.clock import SystemClock
from ferry.edge.tls.local_ca import LocalCa
from ferry.errors import StartupError


async def test_the_certificate_alone_or_with_how_to_trust_it(tmp_path: Path) -> None:
    LocalCa.open(tmp_path, "localhost", clock=SystemClock())
    exported = await run(ca, "--export", "--state", str(tmp_path))
    assert exported.lines[0] == "-----BEGIN CERTIFICATE-----"
    assert exported.lines[-1] == "-----END CERTIFICATE-----"
    assert ssl.PEM_cert_to_DER_cert(exported.text)
    document = (await run(ca, "--export", "--json", "--state", str(tmp_path))).json
    assert (document["path"], document["pem"]) == (f"{tmp_path}/ca/ca.crt", exported.text)
    told = await run(ca, "--state", str(tmp_path))
    assert told.text.endswith("To carry it to another machine: ferry ca --export > ferry-ca.crt\n")


async def test_a_pipe_in_the_place_of_the_certificate_holds_nothing_up(tmp_path: Path) -> None:
    """The gateway's user may have put it there, and root may run the command."""
    (tmp_path / "ca").mkdir()
    os.mkfifo(tmp_path / "ca" / "ca.crt")
    told = await run(ca, "--state", str(tmp_path))
    assert f"{tmp_path}/ca/ca.crt is not the certificate of a local CA: restore it" in str(told.error)
    with pytest.raises(StartupError, match=r"ca\.crt cannot be read \(it is not a file\): restore it"):
        LocalCa.open(tmp_path, "localhost", clock=SystemClock())
