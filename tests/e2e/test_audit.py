"""`ssh-audit` accepts the algorithms of a gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from gateway_process import Gateway


def test_ssh_audit_finds_nothing_to_fail(gateway: Gateway) -> None:
    audit = str(Path(sys.prefix) / "bin" / "ssh-audit")
    command = [audit, "--json", "--skip-rate-test", "-p", str(gateway.ports.ssh), "127.0.0.1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = json.loads(ended.stdout)
    listed = [entry for kind in ("kex", "key", "enc", "mac") for entry in found[kind]]
    assert len(listed) >= 8, ended.stdout
    failed = {entry["algorithm"]: entry["notes"]["fail"] for entry in listed if entry["notes"].get("fail")}
    assert not failed
