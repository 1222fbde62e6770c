"""An audit log that cannot be written: the gateway goes on and says so, or, where it is required, allows nothing new."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ferry_command import ferry
from looks import until
from origin_server import Origin
from small_disk import OnSmallDisk, fill, needs_a_disk
from web_client import visit


@needs_a_disk
@pytest.mark.parametrize("required", [False, True])
def test_a_full_disk(new_key: Callable[[], Path], tmp_path: Path, origin: Origin, required: bool) -> None:
    gateway = OnSmallDisk(tmp_path, {"audit": {"required": required}})
    with closing(gateway):
        gateway.start()
        owner = gateway.ssh(tmp_path, new_key())
        with owner.start("-T", "-R", f"here:80:127.0.0.1:{origin.port}") as ssh:
            ssh.line("^Forwarding HTTP")
            filler = fill(gateway.disk)
            owner.run(words="whoami")  # its record finds no room
            until(lambda: gateway.health()["audit"] == "failed")
            refused = owner.run(words="whoami")
            assert ("the gateway cannot write its audit log now" in refused.err) is required
            assert (refused.code == 0) is not required
            assert visit(gateway, "here").text == "origin"
            filler.unlink()
            until(lambda: gateway.health()["audit"] == "ok")
            assert owner.run(words="whoami").code == 0
        gateway.stop()
        (copy := tmp_path / "copy").mkdir()
        shutil.copy(gateway.disk / "ferry.db", copy)
        logins = ferry("audit", "--json", "--kind", "login", "--state", copy, cwd=tmp_path).out.splitlines()
        outcomes = Counter(json.loads(line)["outcome"] for line in logins)
        assert outcomes["ok"] == outcomes["ended"] == (3 if required else 4)
        assert bool(outcomes["refused"]) is required
        assert ferry("audit", "verify", "--state", copy, cwd=tmp_path).code == 0
