"""Names, ports and host keys survive an orderly end and a kill."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from gateway_process import Gateway
from line_service import LineService
from origin_server import Origin
from ssh_command import fingerprint
from web_client import visit


def test_a_restart_keeps_host_key_names_and_owners(
    start_gateway: Callable[..., Gateway],
    new_key: Callable[[], Path],
    origin: Origin,
    lines: LineService,
    tmp_path: Path,
) -> None:
    """Once with SIGTERM, once with SIGKILL while the tunnels are up. Neither loses a name."""
    gateway = start_gateway()
    owner, stranger = gateway.ssh(tmp_path, new_key()), gateway.ssh(tmp_path, new_key())
    forwards = (
        "-R",
        f"80:localhost:{origin.port}",
        "-R",
        f"blog:80:localhost:{origin.port}",
        "-R",
        f"0:localhost:{lines.port}",
    )
    seen = []
    for end in (gateway.stop, gateway.kill):
        with owner.start(*forwards) as child:
            derived = child.line(r"http://([a-z]+-[a-z]+)\.localhost")[1]
            seen.append((derived, child.line(r"TCP traffic from localhost:(\d+)")[1]))
            child.line("http://blog.localhost")
            end()
        gateway.start()
        assert visit(gateway, "blog").status == 503
        assert "belongs to somebody else" in stranger.run("-R", f"blog:80:localhost:{origin.port}").err
    with owner.start(*forwards[:2]) as child:
        seen.append((child.line(r"http://([a-z]+-[a-z]+)\.localhost")[1], seen[0][1]))
    assert len(set(seen)) == 1
    assert "REMOTE HOST IDENTIFICATION" not in owner.run().err


def test_a_missing_host_key_is_never_replaced_in_silence(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway()
    path = gateway.state / "ssh_host_ed25519_key"
    saved = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    gateway.stop()
    path.unlink()
    child = gateway.launch()
    assert child.exit_code() == 3
    assert "is gone, but clients know this gateway by SHA256:" in child.err.text
    assert not path.exists()
    child.close()
    path.write_bytes(saved)
    path.chmod(0o600)
    gateway.start()


def test_each_connection_leaves_a_row(
    start_gateway: Callable[..., Gateway], key: Path, origin: Origin, tmp_path: Path
) -> None:
    gateway = start_gateway()
    with gateway.ssh(tmp_path, key).start("-R", f"blog:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        assert len(visit(gateway, "blog", "/file").body) > 5_000_000
        child.line("^GET /file 200")
        visit(gateway, "blog", "/put", method="PUT", body=bytes(1000))
        child.line("^PUT /put 200")
    gateway.event('"connection.closed"')
    gateway.stop()
    with sqlite3.connect(gateway.state / "ferry.db") as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("select * from connections")]
    database.close()
    (row,) = rows
    assert row["fingerprint"] == fingerprint(key)
    assert row["peer"].startswith("127.0.0.1:")
    assert row["client_version"].startswith("OpenSSH")
    assert row["started"] < row["ended"]
    assert row["reason"]
    assert row["down"] > 5_000_000
    assert row["up"] == 1000
