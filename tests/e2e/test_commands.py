"""Words after the host: commands, `--output json`, and unknown words."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

import pytest

from gateway_process import Gateway
from origin_server import Origin
from ssh_command import StockSsh, fingerprint
from web_client import visit

PIPE_COLUMNS = 100


def test_ssh_alone_shows_the_identity_and_how_to_forward(ssh: StockSsh, key: Path) -> None:
    ended = ssh.run()
    assert ended.code == 0
    assert fingerprint(key) in ended.out
    assert f"ssh -R 80:localhost:3000 -p {ssh.port} localhost" in ended.out


def test_ssh_alone_shows_names_tunnels_and_the_last_refusals(ssh: StockSsh, origin: Origin, name: str) -> None:
    for _ in range(2):
        ssh.run("-R", f"admin:80:localhost:{origin.port}")
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        out = ssh.run().out
    assert f"{name}.localhost" in out.partition("Yours:")[2].partition("Up now:")[0]
    assert f"http://{name}.localhost" in out.partition("Up now:")[2].partition("Refused lately:")[0]
    assert (
        out.partition("Refused lately:")[2].count("Refused -R admin:80: the operator has reserved the name 'admin'")
        == 1
    )
    assert "ask for another (2 times)" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= PIPE_COLUMNS


def test_help_lists_every_command(ssh: StockSsh) -> None:
    ended = ssh.run(words="help")
    assert ended.code == 0
    for word in ("help", "ls", "names", "release", "whoami", "output=json"):
        assert f"  {word}" in ended.out


def test_ls_names_release_and_whoami(ssh: StockSsh, key: Path, origin: Origin, name: str) -> None:
    assert "no tunnels of yours are up" in ssh.run(words="ls").out
    assert "no names are reserved" in ssh.run(words="names").out
    with ssh.start("-R", f"{name}:80:localhost:{origin.port}") as child:
        child.line("Forwarding HTTP")
        assert f"http://{name}.localhost" in ssh.run(words="ls").out
        assert "in use now" in ssh.run(words="names").out
    assert "kept until" in ssh.run(words="names").out
    released = ssh.run(words=f"release {name}")
    assert (released.code, released.lines) == (0, [f"{name}.localhost is no longer reserved for you"])
    assert name not in ssh.run(words="names").out
    assert fingerprint(key) in ssh.run(words="whoami").out


def test_release_of_another_identitys_name_fails(ssh: StockSsh) -> None:
    ended = ssh.run(words="release nothing-of-mine")
    assert (ended.code, "is not reserved for you" in ended.err) == (1, True)
    assert "release takes a name" in ssh.run(words="release").err


@pytest.mark.parametrize("words", ["-- --output json", "whoami --output json", "help --output=json", "ls --output json",
                                   "names --output json", "release no-such --output json", "uname --output json -a",
                                   "auth=a:b --output json", "ls -la --output=json"])  # fmt: skip
def test_with_output_json_every_line_is_one_object(ssh: StockSsh, words: str) -> None:
    ended = ssh.run(words=words)
    assert ended.lines
    assert all(isinstance(json.loads(line), dict) for line in ended.lines)


def test_a_forwards_session_in_json(gateway: Gateway, ssh: StockSsh, origin: Origin, name: str) -> None:
    with ssh.start(
        *("-R", f"{name}:80:localhost:{origin.port}", "-R", f"admin:80:localhost:{origin.port}"),
        words="-- --output json",
    ) as child:
        child.line('"refused"')
        assert visit(gateway, name, "/a?b=c").status == 200
        child.line('"visit"')
        objects = [json.loads(line) for line in child.out.lines]
    forward = next(one for one in objects if one.get("status") == "success")
    assert forward["address"] == f"{name}.localhost"
    assert gateway.url(name, "") in forward["urls"]
    seen = next(one for one in objects if one["event"] == "visit")
    assert (seen["method"], seen["target"], seen["status"]) == ("GET", "/a?b=c", 200)
    refused = next(one for one in objects if one.get("status") == "refused")
    assert (refused["asked"], refused["code"]) == ("-R admin:80", "reserved_name")


def test_an_unknown_word_closes_the_forward_and_says_so(ssh: StockSsh, origin: Origin, name: str) -> None:
    ended = ssh.run("-R", f"{name}:80:localhost:{origin.port}", words="auth=me:secret")
    assert ended.code == 1
    assert "unknown word 'auth=me:secret'" in ended.err
    assert "This command's forwards are closed." in ended.err


def test_a_name_that_came_with_an_unknown_word_is_not_kept(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    wanted = ("-R", f"{name}:80:localhost:{origin.port}")
    assert ssh.run(*wanted, words="pasword=x").code == 1
    gateway.event(rf'"name.freed".*"{name}.localhost"')
    assert f"{name}.localhost" not in ssh.run(words="names").out
    # one that was its owner's before stays so
    with ssh.start(*wanted) as child:
        child.line(f"http://{name}.localhost")
    assert ssh.run(*wanted, words="pasword=x").code == 1
    assert f"{name}.localhost" in ssh.run(words="names").out


def test_an_unknown_word_names_the_nearest(ssh: StockSsh) -> None:
    ended = ssh.run(words="whoam")
    assert (ended.code, "did you mean whoami?" in ended.err) == (1, True)


def test_an_unknown_word_names_the_command_to_type(ssh: StockSsh) -> None:
    ended = ssh.run(words="sh")
    assert f"`ssh -p {ssh.port} localhost help` lists what is known" in ended.err


def test_a_tunnel_with_unknown_words_is_never_open_for_a_moment(
    gateway: Gateway, ssh: StockSsh, origin: Origin, name: str
) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def hammer() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=20)
        while not stop.is_set():
            connection.request("GET", "/", headers={"Host": f"{name}.localhost"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            if answer.will_close:
                connection.close()
        connection.close()

    hammers = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in hammers:
        thread.start()
    for _ in range(3):
        assert ssh.run("-R", f"{name}:80:localhost:{origin.port}", words="auth=me:secret").code == 1
    stop.set()
    for thread in hammers:
        thread.join(20)
    assert len(statuses) > 20
    assert 200 not in statuses
    assert origin.requests == []
