"""A name belongs to an identity: its newest claim wins at once, another identity's never."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh, make_key
from web_client import visit


def test_a_frozen_client_loses_its_name_at_once(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as frozen:
        frozen.line("Forwarding HTTP")
        assert visit(gateway, name).text == "origin"
        frozen.signal(signal.SIGSTOP)
        began = time.monotonic()
        with ssh.start("-R", f"{name}:80:localhost:{another_origin.port}") as fresh:
            fresh.line("Forwarding HTTP")
            fresh.line(r"^  taken over from your connection from 127\.0\.0\.1:\d+$")
            assert visit(gateway, name).text == "another"
            assert (
                time.monotonic() - began < 5
            )  # ssh and Python share two cores with other tests; no time-out is near this
            frozen.signal(signal.SIGCONT)
            frozen.line(rf"^{name}\.localhost was taken over by your connection from 127\.0\.0\.1:\d+$")
            assert frozen.exit_code() == 255
            assert visit(gateway, name).text == "another"


def test_a_frozen_client_loses_its_derived_name_too(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin
) -> None:
    with ssh.start("-R", f"80:localhost:{origin.port}") as frozen:
        derived = frozen.line(r"http://([a-z-]+)\.localhost")[1]
        frozen.signal(signal.SIGSTOP)
        with ssh.start("-R", f"80:localhost:{another_origin.port}") as fresh:
            assert fresh.line(r"http://([a-z-]+)\.localhost")[1] == derived
            assert visit(gateway, derived).text == "another"


def test_the_loser_gets_the_reason_and_is_disconnected(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin, name: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as loser:
        loser.line("Forwarding HTTP")
        with ssh.start("-R", f"{name}:80:localhost:{another_origin.port}") as winner:
            winner.line("Forwarding HTTP")
            reason = rf"{name}\.localhost was taken over by your connection from 127\.0\.0\.1:\d+"
            loser.line(f"^{reason}$")
            loser.error_line(f"disconnect from .*{reason}")
            assert loser.exit_code() == 255
            assert visit(gateway, name).text == "another"


def test_only_the_tunnel_that_was_asked_for_again_moves(
    gateway: Gateway, ssh: StockSsh, origin: Origin, another_origin: Origin, name: str
) -> None:
    kept = f"{name}-kept"
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}", "-R", f"{kept}:80:localhost:{origin.port}") as loser:
        loser.line(f"http://{kept}")
        with ssh.start("-R", f"{name}:80:localhost:{another_origin.port}") as winner:
            winner.line("Forwarding HTTP")
            loser.line("was taken over")
            assert visit(gateway, name).text == "another"
            assert visit(gateway, kept).text == "origin"
            assert loser.running


def test_another_identity_is_refused_while_and_after_the_owner_is_there(
    gateway: Gateway, ssh: StockSsh, new_key: Callable[[], Path], origin: Origin, name: str, tmp_path: Path
) -> None:
    stranger = gateway.ssh(tmp_path, new_key())
    keyless = gateway.ssh(tmp_path, None)
    forward = f"{name}:80:localhost:{origin.port}"
    with ssh.start("-R", forward) as owner:
        owner.line("Forwarding HTTP")
        for other in (stranger, keyless):
            ended = other.run("-R", forward)
            assert (ended.code, ended.out) == (1, "")
            assert f"Refused -R {name}:80: {name}.localhost belongs to somebody else: ask for another\n" in ended.err
        assert visit(gateway, name).text == "origin"
    assert stranger.run("-R", forward).code == 1
    assert visit(gateway, name).status == 503


def test_flapping_the_holder_stays(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    forward = f"{name}:80:localhost:{origin.port}"
    with ExitStack() as stack:
        holder = stack.enter_context(ssh.start("-R", forward))
        holder.line("Forwarding HTTP")
        for _ in range(3):
            loser, holder = holder, stack.enter_context(ssh.start("-R", forward))
            holder.line("Forwarding HTTP")
            assert loser.exit_code() == 255  # by then it has answered, and the takeover counts
        ended = ssh.run("-R", forward)
        assert ended.code == 1
        assert "changed hands 3 times in a minute between connections of yours" in ended.err
        assert holder.running
        assert visit(gateway, name).status == 200


def test_keys_mode_one_identity_with_two_keys_read_again_when_the_file_changes(
    start_gateway: Callable[..., Gateway], origin: Origin, another_origin: Origin, tmp_path: Path
) -> None:
    laptop, phone, stranger = (make_key(tmp_path / name, comment=f"{name} name=alice") for name in ("a", "b", "c"))
    keys = tmp_path / "keys"
    shutil.copy(laptop.with_suffix(".pub"), keys)
    gateway = start_gateway(access={"mode": "keys", "keys": [keys]})
    first, second = gateway.ssh(tmp_path, laptop), gateway.ssh(tmp_path, phone)
    assert "Permission denied" in second.run().err
    assert "Permission denied" in gateway.ssh(tmp_path, None).run().err
    seen = gateway.log_lines
    keys.write_text(
        laptop.with_suffix(".pub").read_text()
        + phone.with_suffix(".pub").read_text()
        + 'permitopen="any:any" '
        + stranger.with_suffix(".pub").read_text()
    )
    rejected = gateway.event('"keys.rejected"', after=seen)
    assert (rejected["line"], rejected["error"]) == (3, "permitopen: no port")
    gateway.event('"keys.loaded"', after=seen)
    assert "Permission denied" in gateway.ssh(tmp_path, stranger).run().err
    with first.start("-R", f"blog:80:localhost:{origin.port}") as one:
        one.line("Forwarding HTTP")
        with second.start("-R", f"blog:80:localhost:{another_origin.port}") as two:
            two.line("Forwarding HTTP")
            one.line("was taken over")
            assert visit(gateway, "blog").text == "another"
            assert "alice" in second.run(words="whoami").out
