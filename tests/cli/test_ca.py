"""`ferry ca` exports the gateway's own CA to other machines."""

from __future__ import annotations

import ssl
from pathlib import Path

from console_commands import run
from ferry.cli.ca import ca
from ferry.clock import SystemClock
from ferry.edge.tls.local_ca import LocalCa


async def test_the_certificate_alone_or_with_how_to_trust_it(tmp_path: Path) -> None:
    LocalCa.open(tmp_path, "localhost", clock=SystemClock())
    exported = await run(ca, "--export", "--state", str(tmp_path))
    assert exported.lines[0] == "-----BEGIN CERTIFICATE-----"
    assert exported.lines[-1] == "-----END CERTIFICATE-----"
    assert ssl.PEM_cert_to_DER_cert(exported.text)
    told = await run(ca, "--state", str(tmp_path))
    assert told.text.endswith("To carry it to another machine: ferry ca --export > ferry-ca.crt\n")
