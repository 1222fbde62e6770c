"""What people type who come from a shell or another service: the answer on stderr, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh, run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "uname -a",
            "unknown word 'uname': `ssh -p {port} localhost help` lists what is known; there is no shell here.",
        ),
        ("exit", "unknown word 'exit': there is no shell here to leave"),
        ("status", "unknown word 'status': `ssh -p {port} localhost ls` lists your tunnels"),
        ("http 3000", "write `ssh -R 80:localhost:3000 -p {port} localhost`."),
    ],
)
def test_words_of_another_place_are_answered_on_stderr(ssh: StockSsh, words: str, says: str) -> None:
    ended = ssh.run(words=words)
    assert (ended.code, ended.out) == (1, "")
    assert says.format(port=ssh.port) in ended.err


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("sftp", ()), ("scp", ("-s", "FILE", "HOST:")), ("scp", ("-O", "FILE", "HOST:")), ("scp", ("-O", "HOST:x", "."))],
)
def test_sftp_and_scp_are_told_how_to_reach_a_machine(
    ssh: StockSsh, tmp_path: Path, program: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("content")
    host = f"dev@{ssh.host}"
    places = {"FILE": str(tmp_path / "file"), "HOST:": f"{host}:", "HOST:x": f"{host}:x"}
    targets = [places.get(word, word) for word in arguments] or [host]
    ended = run([program, *ssh.options, "-P", str(ssh.port), *targets], folder=tmp_path)
    assert ended.code != 0
    assert (
        f"this gateway has no files. To a machine of yours behind an alias: `sftp -J localhost:{ssh.port}" in ended.err
    )


def test_a_command_that_copies_publishes_nothing(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    ended = ssh.run("-R", f"{name}:80:localhost:{origin.port}", "-s", words="sftp")
    assert (ended.code, "Its forwards are closed." in ended.err) == (1, True)
    assert not any(name in one["address"] for one in gateway.ask("tunnels"))


@pytest.mark.parametrize("user", ["qr", "tcp"])
def test_a_login_name_of_another_service_is_answered_and_the_forward_goes_on(
    ssh: StockSsh, origin: Origin, name: str, user: str
) -> None:
    forward = ("-R", f"{name}:80:localhost:{origin.port}")
    with ssh.start(*forward, user=user) as child:
        child.line("Forwarding HTTP")
        child.error_line(f"the login name '{user}' asks for nothing here: ")
    with ssh.start(*forward, user=user, words="-- --output json") as child:
        answer = json.loads(child.line('^.*"the login name.*$')[0])
        assert (answer["event"], answer["message"].startswith(f"the login name '{user}' asks for nothing here: ")) == (
            "message",
            True,
        )


def test_a_session_without_forwards_says_where_local_and_dynamic_forwards_lead(ssh: StockSsh, tmp_path: Path) -> None:
    ended = ssh.run("-L", f"{tmp_path}/socket:localhost:80")
    assert "-L and -D reach your private aliases only: nothing else goes out through this gateway" in ended.lines


def test_errors_in_json_are_one_object_on_stdout(ssh: StockSsh) -> None:
    ended = ssh.run(words="uname -a --output json")
    [answer] = [json.loads(line) for line in ended.lines]
    assert (ended.code, "unknown word" in ended.err) == (1, False)
    assert (answer["event"], answer["message"]) == ("error", f"{answer['error']}.")
