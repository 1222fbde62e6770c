"""`ferry policy explain` and `who-can` before anybody comes, beside what the gateway then says to stock ssh."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ferry_command import ferry
from ferry_here import ferry_here
from gateway_process import Gateway, gateway_in
from ssh_command import fingerprint, make_key, run

KEYS = {"ann1": "ann", "ann2": "ann", "bob1": "bob", "lone": "", "rsa": "rita"}
TWO = ["publickey,publickey"]


class Beside:
    """A gateway with a file of keys, and who asks what it would decide."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.folder, self.gateway = folder, gateway
        self.file = folder / "keys"
        for name, identity in KEYS.items():
            kind = "rsa" if name == "rsa" else "ed25519"
            make_key(folder / name, kind, comment=f"name={identity}" if identity else "")

    def use(self, *lines: str, **sshd: object) -> str:
        """Lines of keys, each with options before the key's name here, and settings with sshd's names. What a reload says."""
        whole = self.file.with_suffix(".new")
        texts = [line.rpartition(" ") for line in lines]
        whole.write_text("".join(f"{options} {(self.folder / f'{key}.pub').read_text()}" for options, _, key in texts))
        whole.replace(self.file)
        self.gateway.settings["sshd"] = sshd
        self.gateway.write_config()
        ran = ferry("reload", "--state", self.gateway.state, cwd=self.folder)
        assert ran.code == 0, ran.err
        return " ".join(ran.out.split())

    def who(self, key: str) -> str:
        return KEYS[key] or fingerprint(self.folder / key)

    def explain(self, key: str, *question: str) -> dict[str, Any]:
        return self.asked(self.who(key), *question)

    def asked(self, who: str, *question: str) -> dict[str, Any]:
        return self._asked("explain", "--who", who, *question)

    def who_can(self, *question: str) -> list[str]:
        found = self._asked("who-can", *question)["allowed"]
        return [each["who"] or each["key"]["fingerprint"] for each in found]

    def _asked(self, *words: str) -> dict[str, Any]:
        ran = ferry_here("policy", *words, "--config", "ferry.toml", "--json", cwd=self.folder)
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def allowed(self, keys: Sequence[str], forward: str) -> bool:
        """Whether the gateway lets somebody in with these keys, and open that forward."""
        ssh = self.gateway.ssh(self.folder, self.folder / keys[0])
        more = [word for key in keys[1:] for word in ("-i", str(self.folder / key))]
        return ssh.run(*more, words=f"explain {forward}").code == 0


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    folder = tmp_path_factory.mktemp("beside")
    make_key(folder / "first")
    (folder / "keys").write_text((folder / "first.pub").read_text())
    access: dict[str, object] = {"mode": "keys", "keys": [folder / "keys"]}
    with gateway_in(folder, access=access, ssh={"penalties": False}) as gateway:
        yield Beside(folder, gateway)


@pytest.mark.parametrize(
    ("lines", "sshd", "keys", "why"),
    [
        (["ann1"], {}, ["ann1"], None),
        (["ann1"], {"pubkey_accepted_algorithms": ["sk-*"]}, ["ann1"], "does not take ssh-ed25519"),
        (["ann1"], {"pubkey_accepted_algorithms": ["ssh-ed25519"]}, ["ann1"], None),
        (["ann1"], {"pubkey_accepted_algorithms": ["*-cert-v01@openssh.com"]}, ["ann1"], "does not take ssh-ed25519"),
        (["rsa"], {"pubkey_accepted_algorithms": ["rsa-sha2-512"]}, ["rsa"], None),
        (["rsa"], {"pubkey_accepted_algorithms": ["-rsa-*"]}, ["rsa"], "does not take rsa-sha2-256 or rsa-sha2-512"),
        (
            ["ann1"],
            {"match": [{"identity": ["ann"], "pubkey_accepted_algorithms": ["sk-*"]}]},
            ["ann1"],
            "does not take ssh-ed25519",
        ),
        (["bob1", "ann1", "ann2"], {"authentication_methods": TWO}, ["bob1"], "asks for 2 keys, and bob has 1: add a line"),
        (["bob1", "ann1", "ann2"], {"authentication_methods": TWO}, ["ann1", "ann2"], None),
        (["lone", "ann1", "ann2"], {"authentication_methods": TWO}, ["lone", "ann1"], "of one name, and this one has none"),
        (["ann1", "restrict ann2"], {"authentication_methods": TWO}, ["ann1", "ann2"], "and of the keys of ann no other does"),
        (['expiry-time="20200101" ann1', "ann2"], {"authentication_methods": TWO}, ["ann2", "ann1"], "no other does"),
        (["bob1"], {"match": [{"identity": ["bob"], "authentication_methods": TWO}]}, ["bob1"], "bob has 1: add a line"),
        (["restrict ann1", "ann1"], {}, ["ann1"], "line 1 has the same key and lets it in"),
        (['expiry-time="20200101" ann1', "ann1"], {}, ["ann1"], None),
    ],
)  # fmt: skip
def test_a_key_that_the_settings_do_not_let_in_may_nothing(
    beside: Beside, lines: list[str], sshd: dict[str, object], keys: list[str], why: str | None
) -> None:
    beside.use(*lines, **sshd)
    port = beside.gateway.ports.loopback[3]
    assert beside.allowed(keys, f"-R {port}:localhost:1") is (why is None)
    question = ("--publish", str(port))
    found = beside.explain(keys[0], *question)
    assert found["allowed"] is (why is None), found
    told = [each[by]["why"] for each in found["answers"] for by in ("gateway", "key") if each[by]]
    assert why is None or any(why in text for text in told), told
    assert (beside.who(keys[0]) in beside.who_can(*question)) is (why is None)


@pytest.mark.parametrize(
    "permits", ["localhost:*", "localhost:{}", "127.0.0.1:{}", "*:{}", "{}", "[::1]:{}", "0.0.0.0:{}", "127.*:{}", "::*:{}"]
)  # fmt: skip
def test_the_address_before_a_port_is_asked_about_as_ssh_sends_it(beside: Beside, permits: str) -> None:
    port = beside.gateway.ports.loopback[4]
    forms = ["", "localhost:", "*:", ":", "127.0.0.1:", "[::1]:", "0.0.0.0:", "[::]:", "192.0.2.7:"]
    listed = permits.replace("::*", "[::*]").format(port)
    for line, sshd in ((f'permitlisten="{listed}" ann1', {}), ("ann1", {"permit_listen": [listed]})):
        beside.use(line, **sshd)
        told = {form: beside.explain("ann1", "--publish", f"{form}{port}")["allowed"] for form in forms}
        assert told == {form: beside.allowed(["ann1"], f"-R {form}{port}:localhost:1") for form in forms}
        assert any(told.values())
        assert beside.explain("ann1", "--publish", "0")["allowed"] is beside.allowed(["ann1"], "-R 0:localhost:1")
        assert not all(told.values()) or permits in ("{}", "*:{}")


def test_a_certificate_is_asked_about_with_the_blocks_for_its_holder(beside: Beside) -> None:
    ca, key = make_key(beside.folder / "ca"), make_key(beside.folder / "m1")
    signed = ["ssh-keygen", "-q", "-s", str(ca), "-I", "m1", "-n", "dev", str(key.with_suffix(".pub"))]
    assert run(signed, folder=beside.folder).code == 0
    holder, port = f"{fingerprint(ca)}:m1", beside.gateway.ports.loopback[5]
    beside.use(
        "cert-authority ca", match=[{"identity": [f"{fingerprint(ca)}:m*"], "permit_listen": [f"localhost:{port}"]}]
    )
    ssh = beside.gateway.ssh(beside.folder, key)
    for form, allowed in (("", True), ("*:", False)):
        assert beside.asked(holder, "--publish", f"{form}{port}")["allowed"] is allowed
        certified = ("-o", f"CertificateFile={key}-cert.pub")
        assert (ssh.run(*certified, words=f"explain -R {form}{port}:localhost:1").code == 0) is allowed


def test_the_setting_that_decides_is_named_with_its_line(beside: Beside) -> None:
    beside.use("bob1", authentication_methods=TWO, pubkey_accepted_algorithms=["ssh-*"])
    place = beside.explain("bob1", "--publish", "1234")["answers"][0]["gateway"]["place"]
    toml = beside.folder / "ferry.toml"
    number = toml.read_text().split("\n").index('authentication_methods = ["publickey,publickey"]') + 1
    assert place == f"{toml}, line {number}: sshd.authentication_methods"


def test_a_reload_that_locks_keys_out_says_so(beside: Beside) -> None:
    def checked() -> tuple[int, str]:
        ran = ferry("check-config", "--config", "ferry.toml", "--no-dns", cwd=beside.folder)
        return ran.code, ran.out

    assert "note:" not in beside.use("ann1", "bob1")
    said = beside.use("ann1", "bob1", pubkey_accepted_algorithms=["sk-*"])
    assert f"note: {beside.file}, lines 1, 2: these keys let nobody in: PubkeyAcceptedAlgorithms does not take" in said
    code, told = checked()
    assert (code, f"{beside.file}, lines 1, 2: these keys let nobody in" in told) == (1, True), told
    said = beside.use("ann1", "ann2", "bob1", authentication_methods=TWO)
    assert f"note: {beside.file}, line 3: bob has too few keys to log in" in said
    assert checked()[0] == 0
