"""Several commands over one connection (`ControlMaster`): an error in a later one ends that command only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from child_process import Child
from gateway_process import Gateway
from origin_server import Origin
from ssh_command import Ended, StockSsh, environment, run
from web_client import visit


class Shared:
    """A master connection and the commands that share it."""

    def __init__(self, ssh: StockSsh) -> None:
        self.ssh = ssh
        self.socket = ("-S", str(ssh.folder / "shared"))

    @contextmanager
    def master(self, *arguments: str) -> Iterator[Child]:
        with self.more("-M", *arguments) as child:
            yield child

    @contextmanager
    def more(self, *arguments: str, words: str = "") -> Iterator[Child]:
        """One more session."""
        with self.ssh.start(*self.socket, *arguments, words=words, keyboard=True) as child:
            yield child

    def run(self, *arguments: str, words: str = "") -> Ended:
        return self.ssh.run(*self.socket, *arguments, words=words)


@pytest.fixture
def shared(ssh: StockSsh) -> Shared:
    return Shared(ssh)


@pytest.mark.parametrize("session", [True, False], ids=["with-a-session", "without"])
def test_an_unknown_word_leaves_the_masters_tunnels_alone(
    gateway: Gateway, shared: Shared, origin: Origin, name: str, session: bool
) -> None:
    forward = ("-R", f"{name}:80:localhost:{origin.port}")
    with shared.master(*(("-tt",) if session else ("-N", "-v")), *forward) as master:
        if session:
            master.line("Forwarding HTTP")
        else:
            master.error_line("remote forward success")
            assert shared.run(words="whoami").code == 0  # the words of the first command count as the master's
        ended = shared.run(words="lss")
        assert (ended.code, "did you mean ls?" in ended.err) == (1, True)
        assert "forwards are closed" not in ended.err
        assert visit(gateway, name).text == "origin"
        assert f"{name}.localhost" in shared.run(words="ls").out
        assert "in use now" in shared.run(words="names").out


def test_a_forward_that_is_asked_for_after_an_unknown_word_works(
    gateway: Gateway, shared: Shared, origin: Origin, name: str
) -> None:
    with shared.master("-N", "-v") as master:
        master.error_line("Entering interactive session")
        assert shared.run(words="lss").code == 1
        asked = shared.run("-O", "forward", "-R", f"{name}:80:localhost:{origin.port}")
        assert asked.code == 0
        assert visit(gateway, name).text == "origin"


def test_words_close_the_forward_of_their_own_command(
    gateway: Gateway, shared: Shared, origin: Origin, name: str
) -> None:
    with shared.master("-tt", "-R", f"{name}:80:localhost:{origin.port}") as master:
        master.line("Forwarding HTTP")
        ended = shared.run("-R", f"{name}x:80:localhost:{origin.port}", words="auth=me:secret")
        assert (ended.code, "This command's forwards are closed." in ended.err) == (1, True)
        assert visit(gateway, f"{name}x").status in (404, 503)
        assert visit(gateway, name).text == "origin"


def test_a_key_in_one_session_ends_that_one(gateway: Gateway, shared: Shared, origin: Origin, name: str) -> None:
    """It closed the master's forwards."""
    with shared.master("-tt", "-R", f"{name}:80:localhost:{origin.port}") as first:
        first.line("q quit")
        with shared.more("-tt") as second:
            second.line("q quit")
            second.typed("q")
            assert second.exit_code() == 0
            second.line("^The forwards stay up: this connection is shared. To end it: ssh -O exit ")
        assert visit(gateway, name).text == "origin"
        first.typed("q")
        assert first.exit_code() == 0
        assert visit(gateway, name).status == 503


def test_a_key_leaves_the_forwards_of_a_master_without_a_session(
    gateway: Gateway, shared: Shared, origin: Origin, name: str
) -> None:
    with shared.master("-N", "-v", "-R", f"{name}:80:localhost:{origin.port}") as master:
        master.error_line("remote forward success")
        assert shared.run(words="whoami").code == 0
        with shared.more("-tt") as second:
            second.line("q quit")
            second.typed("\x03")
            assert second.exit_code() == 0
        assert visit(gateway, name).text == "origin"
        assert shared.run("-O", "exit").code == 0


@pytest.mark.parametrize("words", ["", "auth=me:secret"], ids=["a-key", "an-unknown-word"])
def test_a_connection_that_persists_ends_its_forwards_with_the_command_that_made_it(
    gateway: Gateway, shared: Shared, origin: Origin, name: str, words: str
) -> None:
    """`ControlPersist`: the session opens after ssh has answered a keepalive, as if it were another command's."""
    forward = ("-tt", "-R", f"{name}:80:localhost:{origin.port}")
    with shared.more("-M", "-o", "ControlPersist=30", *forward, words=words) as first:
        if words:
            first.error_line("This command's forwards are closed.")
        else:
            first.line("q quit")
            first.typed("\x03")
        assert first.process.wait(20) == bool(words)
        assert visit(gateway, name).status in (404, 503)
        shared.run("-O", "exit")


def test_a_refused_forward_that_a_new_master_is_asked_for_does_not_end_it(shared: Shared) -> None:
    with shared.master("-N", "-v") as master:
        master.error_line("rtype keepalive@openssh.com")  # it answers: what it is asked for is no start of it
        assert shared.run("-O", "forward", "-R", "admin:80:127.0.0.1:9").code == 255
        assert shared.run("-O", "check").code == 0
        assert "Refused -R admin:80: " in shared.run().err
        assert master.running


@pytest.mark.parametrize("foreign", [1, 2])
def test_a_session_stays_while_a_forward_is_still_to_be_granted(
    gateway: Gateway, ssh: StockSsh, new_key: Callable[[], Path], origin: Origin, name: str, foreign: int
) -> None:
    """With two foreign names and one of one's own it ended with 1, nine times in ten."""
    to = f"80:localhost:{origin.port}"
    theirs = [word for n in range(foreign) for word in ("-R", f"{name}{n}:{to}")]
    with gateway.ssh(ssh.folder, new_key()).start(*theirs) as other:
        other.line(f"http://{name}{foreign - 1}")
        for _ in range(3):
            with ssh.start(*theirs, "-R", f"{name}:{to}") as child:
                child.error_line(f"Refused -R {name}{foreign - 1}:80")
                child.line(f"http://{name}.localhost")
                assert child.running


def test_json_is_asked_for_without_a_dash_by_clients_that_take_dashes_for_themselves(
    gateway: Gateway, tmp_path: Path, key: Path
) -> None:
    subprocess.run(["dropbearconvert", "openssh", "dropbear", key, tmp_path / "d"], check=True, capture_output=True)
    subprocess.run(
        ["puttygen", key, "-o", tmp_path / "p.ppk"], check=True, capture_output=True, env=environment(tmp_path)
    )
    port = str(gateway.ports.ssh)
    host_keys = [word for line in gateway.ask("status")["host_keys"] for word in ("-hostkey", line.split()[1])]
    dbclient = ["dbclient", "-T", "-y", "-i", str(tmp_path / "d"), "-p", port, "dev@127.0.0.1"]
    plink = ["plink", "-batch", "-ssh", "-P", port, "-i", str(tmp_path / "p.ppk"), *host_keys, "dev@127.0.0.1"]
    for client in (dbclient, plink):
        for words in (["output=json"], ["whoami", "output=json"], ["whoami", "--output", "json"]):
            ended = run([*client, *words], folder=tmp_path)
            assert (ended.code, ended.out.startswith('{"event": "whoami"')) == (0, True), ended
    assert "did you mean output=json?" in run([*dbclient, "--output", "json"], folder=tmp_path).err
