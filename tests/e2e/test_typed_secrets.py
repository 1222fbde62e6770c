"""What a person typed by mistake is theirs: a password reaches neither log, nor events, nor database, nor other sessions.

The gateway logs at `debug` here, where it says most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_process import Gateway, gateway_in
from origin_server import Origin
from ssh_command import StockSsh
from web_client import visit

SECRET = "Sesame17"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_in(tmp_path_factory.mktemp("talkative"), log={"level": "debug", "format": "json"}) as running:
        yield running


@pytest.fixture
def ssh(talkative: Gateway, tmp_path: Path, key: Path) -> StockSsh:
    return talkative.ssh(tmp_path, key)


def kept(gateway: Gateway) -> str:
    """Everything that the gateway keeps of what was said: its log, its events, its database."""
    database = "".join(file.read_bytes().decode("latin-1") for file in gateway.state.glob("ferry.db*"))
    return gateway.running.err.text + json.dumps(gateway.events()) + database


@pytest.mark.parametrize(
    ("words", "logged"),
    [
        (f"auth=ann:{SECRET}", "unknown word auth=…"),
        (f"ann:{SECRET}", "unknown word (12 characters)"),
        (f"--password={SECRET}", "unknown word --password=…"),
        (f"auth ann:{SECRET}", "unknown word auth"),
        (f"ls {SECRET}", "an argument after ls, which takes none"),
        (f"--output {SECRET}", "an unknown --output: (8 characters)"),
    ],
)
def test_secret_words_after_the_host_are_not_kept(
    talkative: Gateway, ssh: StockSsh, origin: Origin, name: str, words: str, logged: str
) -> None:
    ended = ssh.run("-R", f"{name}:80:localhost:{origin.port}", words=f"-- {words}")
    assert ended.code == 1
    assert (SECRET in ended.err) == (words != f"auth ann:{SECRET}")  # the first unknown word is the one that is named
    told = talkative.event(rf'"tunnel\.(closed|refused)".*{name}')
    left_before_the_grant = told["event"] == "tunnel.refused"
    assert told["detail" if left_before_the_grant else "reason"] == (
        "the connection closed meanwhile" if left_before_the_grant else logged
    )
    assert SECRET not in kept(talkative)


@pytest.mark.parametrize(
    ("forward", "asked"),
    [
        (f"ann\\:{SECRET}@blog:80", "-R (17 bytes):80"),
        (f"blog/{SECRET}:80", "-R (13 bytes):80"),
        (f"blog?{SECRET}:80", "-R (13 bytes):80"),
        (f"/tmp/{SECRET}", "-R PATH"),
    ],
)
def test_secrets_in_forwards_are_not_kept(
    talkative: Gateway, ssh: StockSsh, origin: Origin, forward: str, asked: str
) -> None:
    seen = talkative.log_lines
    ended = ssh.run("-R", f"{forward}:localhost:{origin.port}")
    assert SECRET in ended.err
    assert talkative.event(r'"tunnel\.refused"', after=seen)["asked"] == asked
    later = ssh.run()
    assert f"Refused {asked}" in later.out
    assert SECRET.lower() not in (later.out + kept(talkative)).lower()


def test_secrets_in_jump_targets_and_subsystems_are_not_kept(talkative: Gateway, ssh: StockSsh) -> None:
    assert ssh.run("-W", f"ann/{SECRET}:22").code == 255
    ssh.run("-s", words=f"ann:{SECRET}")
    assert len([e for e in talkative.events() if e.get("asked") in ("(12 bytes):22", "(12 characters)")]) == 2
    assert SECRET not in kept(talkative)


def test_a_password_in_the_place_of_the_user_is_not_kept(talkative: Gateway, ssh: StockSsh) -> None:
    assert ssh.run(user=SECRET, words="whoami").code == 0
    assert SECRET not in kept(talkative)


def test_the_query_of_a_visit_is_not_kept(talkative: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    """The owner's own session shows it whole, if its words ask for that."""
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}", words="query=full") as owner:
        owner.line("Forwarding HTTP")
        assert visit(talkative, name, f"/path?token={SECRET}").status == 200
        owner.line(rf"GET /path\?token={SECRET} 200")
        assert talkative.event(rf'"visit".*{name}')["target"] == "/path?..."
        assert visit(talkative, name, "/plain?").status == 200
        assert talkative.event(r'"visit".*"/plain')["target"] == "/plain?..."
        assert [e["target"] for e in talkative.events() if e["event"] == "visit"][-2:] == ["/path?...", "/plain?..."]
    assert SECRET not in kept(talkative)


def test_a_private_key_and_options_in_a_key_file_are_not_kept(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    private, known = new_key(), tmp_path / "known"
    public = private.with_suffix(".pub").read_text()
    known.write_text(f'{private.read_text()}\nenvironment="TOKEN={SECRET}",permitopen="{SECRET}" {public}')
    gateway = start_gateway(access={"mode": "keys", "keys": [known]})
    assert gateway.event('"keys.rejected".*permitopen')["error"] == "permitopen: no host with a port"
    whole = kept(gateway)
    assert [line for line in private.read_text().splitlines()[1:-1] if line[:16] in whole] == []
    assert SECRET not in whole
