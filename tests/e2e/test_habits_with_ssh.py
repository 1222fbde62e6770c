"""Answers to what people type who come from a shell or another service: in JSON, and with forwards beside them.
`test_command_lines.py` has the lines themselves."""

from __future__ import annotations

import json

import pytest

from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh


def test_a_command_that_copies_publishes_nothing(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    ended = ssh.run("-R", f"{name}:80:localhost:{origin.port}", "-s", words="sftp")
    assert (ended.code, "This command's forwards are closed." in ended.err) == (1, True)
    assert not any(name in one["address"] for one in gateway.ask("tunnels"))


@pytest.mark.parametrize("user", ["qr", "tcp"])
def test_a_login_name_of_another_service_is_answered_in_json_too(
    ssh: StockSsh, origin: Origin, name: str, user: str
) -> None:
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}", user=user, words="-- --output json") as child:
        answer = json.loads(child.line('^.*"the login name.*$')[0])
        assert answer["event"] == "message"
        assert answer["message"].startswith(f"the login name '{user}' asks for nothing here: ")


def test_errors_in_json_are_one_object_on_stdout(ssh: StockSsh) -> None:
    ended = ssh.run(words="uname -a --output json")
    [answer] = [json.loads(line) for line in ended.lines]
    assert (ended.code, "unknown word" in ended.err) == (1, False)
    assert answer.keys() == {"event", "message"}  # the text is there once
    assert (answer["event"], answer["message"].partition(":")[0]) == ("error", "unknown word 'uname'")
