"""A gateway that starts while its database takes no writes serves what it can read, and writes later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway_process import Gateway
from origin_server import Origin
from small_disk import OnSmallDisk, fill, needs_a_disk
from web_client import visit


def full(gateway: OnSmallDisk) -> Callable[[], object]:
    return fill(gateway.disk).unlink


def read_only(gateway: OnSmallDisk) -> Callable[[], object]:
    gateway.remount("ro")
    return lambda: gateway.remount("rw")


@needs_a_disk
@pytest.mark.parametrize("end", [Gateway.kill, Gateway.stop])
@pytest.mark.parametrize("disk", [full, read_only])
def test_on_a_full_or_read_only_disk_it_starts_serves_and_recovers(
    new_key: Callable[[], Path],
    tmp_path: Path,
    origin: Origin,
    disk: Callable[[OnSmallDisk], Callable[[], object]],
    end: Callable[[Gateway], None],
) -> None:
    """SIGKILL leaves leases and open rows of connections, which the next start can not end; SIGTERM leaves neither the
    write-ahead log nor its index, which the next start can not make."""
    gateway = OnSmallDisk(tmp_path)
    with closing(gateway):
        gateway.start()
        owner, stranger = gateway.ssh(tmp_path, new_key()), gateway.ssh(tmp_path, new_key())
        forward = ("-T", "-R", f"here:80:127.0.0.1:{origin.port}")
        with owner.start(*forward) as ssh:
            ssh.line("^Forwarding HTTP")
            end(gateway)
        make_room = disk(gateway)
        gateway.start()
        assert gateway.health() == {
            "status": "degraded", "store": "failed", "audit": "failed", "policy": "none",
            "config": "ok", "access": "ok", "tunnels": 0,
        }  # fmt: skip
        with owner.start(*forward) as ssh:
            ssh.line("^Forwarding HTTP traffic from http://here.localhost")
            assert visit(gateway, "here").text == "origin"
            told = stranger.run("-N", "-R", f"new:80:127.0.0.1:{origin.port}").err
            assert "the gateway's disk is full" in told or "the gateway cannot write to its database" in told
            make_room()
            gateway.event("store.recovered")
            assert gateway.health() == {
                "status": "ok", "store": "ok", "audit": "ok", "policy": "none",
                "config": "ok", "access": "ok", "tunnels": 1,
            }  # fmt: skip
            with stranger.start("-T", "-R", f"new:80:127.0.0.1:{origin.port}") as other:
                other.line("^Forwarding HTTP traffic from http://new.localhost")
            assert visit(gateway, "here").text == "origin"
        gateway.stop()
