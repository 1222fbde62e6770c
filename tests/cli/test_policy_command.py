"""`ferry policy`, as an operator runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ferry_command import ferry
from ferry_here import ferry_here
from ssh_command import fingerprint, make_key

PAGE = Path(__file__).parents[2] / "docs/reference/policy.md"
POLICY = """\
[[rule]]
name = "fleet"
who = ["web-*"]
publish.ports = ["21000-21999"]

[[test]]
who = "web-1"
accept = ["publish 21023"]
deny = ["publish 22"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_a_right_file_is_counted(file: Path) -> None:
    ran = ferry("policy", "check", file, cwd=file.parent)
    assert (ran.code, ran.out) == (0, f"{file}: 1 rule, 0 tags, 2 tests passed\n")
    ran = ferry("policy", "check", file, "--json", cwd=file.parent)
    assert json.loads(ran.out) == {"file": str(file), "rules": 1, "tags": 0, "tests": 2, "failures": [], "notes": []}


def test_a_failing_test_is_told_with_its_line_and_the_rule(file: Path) -> None:
    file.write_text(POLICY.replace('deny = ["publish 22"]', 'deny = ["publish 21000"]'))
    ran = ferry("policy", "check", file, cwd=file.parent)
    assert ran.code == 1
    said = " ".join(ran.out.split())
    assert "line 9: the test of web-1 denies 'publish 21000', and the rule 'fleet' (line 1) allows it" in said
    assert said.endswith(": 1 rule, 0 tags, 1 of 2 tests failed")
    found = json.loads(ferry("policy", "check", file, "-o", "json", cwd=file.parent).out)
    [failure] = found["failures"]
    assert {key: failure[key] for key in ("line", "who", "asked", "expected")} == {
        "line": 9,
        "who": "web-1",
        "asked": "publish 21000",
        "expected": "deny",
    }


def test_all_mistakes_of_a_file_are_told_at_once(file: Path) -> None:
    file.write_text(POLICY.replace("web-*", "web *").replace("21000-21999", "x"))
    ran = ferry("policy", "check", file, cwd=file.parent)
    assert ran.code == 2
    said = " ".join(ran.err.split())
    assert "line 3: who: 'web *' is nobody: write a name" in said
    assert "line 4: publish.ports: 'x' is no port: write" in said
    ran = ferry("policy", "check", "none.toml", "--json", cwd=file.parent)
    assert ran.code == 2
    assert json.loads(ran.err)["error"].startswith("none.toml: cannot be read: No such file or directory")


def test_the_examples_of_the_manual_are_right(tmp_path: Path) -> None:
    examples = [part.partition("```")[0] for part in PAGE.read_text().split("```toml\n")[1:]]
    assert examples
    for example in examples:
        (tmp_path / "policy.toml").write_text(example)
        ran = ferry("policy", "check", "policy.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err


# --- explain, who-can


FLEET = """\
[[rule]]
name = "fleet"
who = ["web-*"]
publish.ports = ["ssh"]
publish.aliases = ["{name}:22"]
from = ["10.0.0.0/8"]

[[rule]]
name = "staff"
who = "ann"
reach.aliases = ["web-*:22"]
reach.hosts = ["db.example.com:5432"]
"""
OPTIONS = {"web-1": 'permitlisten="localhost:21023"', "web-2": "", "ann": 'permitopen="web-1:22"'}


class Asked:
    """A configuration with a policy file and keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keys = {name: make_key(folder / name, comment=f"name={name}") for name in OPTIONS}
        (folder / "keys").write_text(
            "".join(f"{OPTIONS[name]} {key.with_suffix('.pub').read_text()}" for name, key in keys.items())
        )
        (folder / "ferry-data").mkdir()
        (folder / "ferry-data" / "ferry.db").touch()  # of another gateway than the one that is named
        self.policy = folder / "policy.toml"
        self.policy.write_text(FLEET)
        self.configure('mode = "keys"', 'keys = ["keys"]', 'policy = "policy.toml"')

    def configure(self, *access: str) -> None:
        (self.folder / "ferry.toml").write_text("\n".join(["[access]", *access]) + "\n")

    def __call__(self, *words: str) -> tuple[int, str]:
        ran = ferry_here("policy", *words, "--config", "ferry.toml", cwd=self.folder)
        return ran.code, " ".join((ran.out + ran.err).split())

    def json(self, *words: str) -> tuple[int, dict[str, Any]]:
        ran = ferry_here("policy", *words, "--config", "ferry.toml", "--json", cwd=self.folder)
        return ran.code, json.loads(ran.out)


@pytest.fixture(scope="module")
def modules_ask(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(tmp_path_factory.mktemp("asked"))


@pytest.fixture
def ask(modules_ask: Asked) -> Asked:
    modules_ask.configure('mode = "keys"', 'keys = ["keys"]', 'policy = "policy.toml"')
    return modules_ask


def test_explain_names_the_rule_and_the_line_of_the_key(ask: Asked) -> None:
    code, said = ask("explain", "--who", "web-1", "--publish", "21023", "--from", "10.1.2.3")
    assert code == 0
    assert said.startswith(
        f"yes: web-1 may publish port 21023 policy: rule 'fleet' allows it ({ask.policy}, line 1) key: SHA256:"
    )
    assert said.endswith(f"({ask.folder}/keys, line 1) allows it")
    code, said = ask("explain", "--who", "web-1", "--publish", "21024", "--from", "10.1.2.3")
    assert (code, said.partition(" policy:")[0]) == (1, "no: web-1 may not publish port 21024")
    assert "does not: permitlisten= of its line has localhost:21023 only, not localhost:21024" in said
    assert f"({ask.folder}/keys, line 1: permitlisten)" in said
    code, said = ask("explain", "--who", "web-2", "--publish", "web-1:22", "--from", "10.1.2.3")
    assert code == 1
    assert f"the policy does not allow web-2 to publish the alias web-1:22: no rule does ({ask.policy})" in said
    code, said = ask("explain", "--who", "web-2", "--publish", "21023", "--from", "192.0.2.7")
    assert code == 1
    assert f"port 21023 from 192.0.2.7: 'fleet' has from ({ask.policy}, line 1: fleet)" in said


def test_without_an_address_from_is_shown_and_not_asked(ask: Asked) -> None:
    code, said = ask("explain", "--who", "web-2", "--publish", "21024")
    assert code == 0
    assert f"rule 'fleet' allows it from 10.0.0.0/8 only ({ask.policy}, line 1)" in said


def test_explain_in_json(ask: Asked) -> None:
    code, found = ask.json("explain", "--who", "ann", "--reach", "web-1:22")
    assert (code, found["allowed"], found["asked"]) == (0, True, "reach the alias web-1:22")
    [answer] = found["answers"]
    assert answer["policy"]["rule"] == {"name": "staff", "file": str(ask.policy), "line": 8, "who": "ann"}
    assert (answer["key"]["file"], answer["key"]["line"]) == (f"{ask.folder}/keys", 3)
    code, found = ask.json("explain", "--who", "ann", "--reach", "web-2:22")
    assert (code, found["allowed"]) == (1, False)
    [answer] = found["answers"]
    assert (answer["policy"]["allowed"], answer["key"]["allowed"], answer["key"]["code"]) == (True, False, "key_open")


def test_who_can_lists_all_keys_that_may(ask: Asked) -> None:
    code, found = ask.json("who-can", "--publish", "21024")
    assert (code, [each["who"] for each in found["allowed"]]) == (0, ["web-2"])
    code, said = ask("who-can", "--reach", "web-1:22")
    assert code == 0
    assert said.startswith("WHO KEY KEY FILE RULE ann SHA256:")
    assert said.endswith(f"{ask.folder}/keys, line 3 {ask.policy}, line 8: staff")
    assert ask("who-can", "--publish", "blog") == (1, "nobody may publish the name blog")


def test_a_file_is_asked_before_it_is_put_in_force(ask: Asked) -> None:
    (ask.folder / "new.toml").write_text(FLEET.replace('who = "ann"', 'who = "web-2"'))
    code, found = ask.json("who-can", "new.toml", "--reach", "web-1:22")
    assert (code, [each["who"] for each in found["allowed"]]) == (0, ["web-2"])


def test_without_a_policy_file_the_line_of_the_key_decides_and_others_tunnels_are_not_reached(ask: Asked) -> None:
    ask.configure('mode = "keys"', 'keys = ["keys"]')
    keys = ask.folder / "keys"
    code, said = ask("explain", "--who", "web-1", "--publish", "21023")
    assert code == 0
    assert "there is no policy file (access.policy), so the line of the key alone decides" in said
    assert ask("explain", "--who", "web-1", "--reach", "web-1:22")[1].endswith("line 1) allows it, for it is its own")
    assert ask("explain", "--who", "ann", "--reach", "web-1:22")[1].endswith("line 3) allows it")
    code, said = ask("explain", "--who", "web-2", "--reach", "web-1:22")
    assert code == 1
    assert said.startswith("no: web-2 may not reach the alias web-1:22")
    assert said.endswith(f'write permitopen="web-1:22" in the line ({keys}, line 2)')
    code, said = ask("explain", "--who", "web-2", "--reach", "db.example.com:5432")
    assert (code, said.startswith("no: ")) == (1, True)
    assert (
        'permitopen= does not name the host db.example.com:5432: write permitopen="db.example.com:5432" in the line'
        in said
    )
    assert ask("who-can", "--publish", "22") == (1, "nobody may publish port 22")
    assert "no policy file is named" in ask("check")[1]


def test_without_a_policy_file_a_port_is_its_holders_alone(ask: Asked) -> None:
    ask.configure('mode = "keys"', 'keys = ["keys"]')
    keys = ask.folder / "keys"
    code, said = ask("explain", "--who", "web-2", "--publish", "21023")
    assert code == 1
    assert "gateway: port 21023 refused: permitlisten= keeps it for web-1 (SHA256:" in said
    assert said.endswith(f"({keys}, line 1: permitlisten)")
    code, said = ask("explain", "--who", "web-2", "--reach", "localhost:21023")
    assert code == 1
    assert "port 21023 is kept for web-1 (SHA256:" in said
    assert f'({keys}, line 1): write permitopen="localhost:21023" in the line ({keys}, line 2)' in said
    assert ask("explain", "--who", "web-1", "--reach", "localhost:21023")[0] == 0
    for question in (("--publish", "21023"), ("--reach", "localhost:21023")):
        code, found = ask.json("who-can", *question)
        assert (code, [each["who"] for each in found["allowed"]]) == (0, ["web-1"]), question
    code, found = ask.json("who-can", "--reach", "web-1:22")
    assert [each["who"] for each in found["allowed"]] == ["web-1", "ann"]
    code, said = ask("who-can", "--reach", "127.0.0.1:4193")
    assert (code, said) == (1, "nobody may reach port 4193")


SPECIAL = """\
[[rule]]
name = "staff"
who = "ann"
reach.hosts = ["*:80", "*:4193", "10.0.0.0/8:*", "127.0.0.1:4000-5000", "localhost:*"]

[[test]]
who = "ann"
accept = ["reach 10.1.2.3:80", "reach db.example.com:80", "reach 127.0.0.1:4100"]
deny = ["reach 169.254.169.254:80", "reach 127.0.0.1:80", "reach 127.0.0.1:4193", "reach localhost:4193", "reach 127.1:80"]
"""


def test_special_addresses_and_the_gateways_own_ports_are_asked_about_as_the_gateway_decides(ask: Asked) -> None:
    (ask.folder / "special.toml").write_text(SPECIAL)
    ask.configure('mode = "keys"', 'keys = ["keys-of-staff"]', "[admin]", 'listen = "127.0.0.1:4193"')
    (ask.folder / "keys-of-staff").write_text((ask.folder / "ann.pub").read_text())
    code, said = ask("check", "special.toml")
    assert (code, said.endswith("1 rule, 0 tags, 8 tests passed")) == (0, True), said
    for target in ("[::1]:80", "0.0.0.0:80", "169.254.169.254:4193", "127.0.0.1:4193", "localhost:4193", "[::]:4193"):
        code, said = ask("explain", "special.toml", "--who", "ann", "--reach", target)
        assert code == 1, target
        assert ask("who-can", "special.toml", "--reach", target)[0] == 1
    assert (
        "no rule does by naming this host and this port of the gateway's own themselves"
        in (ask("explain", "special.toml", "--who", "ann", "--reach", "0.0.0.0:4193")[1])
    )
    assert ask("explain", "special.toml", "--who", "ann", "--reach", "2130706433:4193")[0] == 1
    for odd in ("127.1:80", "0x7f.0.0.1:80"):
        code, said = ask("explain", "special.toml", "--who", "ann", "--reach", odd)
        assert code == 1, odd
        assert "the gateway connects to no such host: an IPv4 address is four decimal numbers" in said
    assert ask("explain", "special.toml", "--who", "ann", "--reach", "localhost:4100")[0] == 0
    ask.configure('mode = "anyone"', "[admin]", 'listen = "127.0.0.1:4193"')
    assert ask("who-can", "special.toml", "--reach", "127.0.0.1:4193")[0] == 1
    assert ask("who-can", "special.toml", "--reach", "127.0.0.1:4100")[0] == 0


def test_a_key_whose_line_lets_nobody_in_is_told_with_its_line(ask: Asked) -> None:
    public = {name: (ask.folder / f"{name}.pub").read_text() for name in OPTIONS}
    lines = f'permitopen="any:any" {public["web-1"]}#disabled restrict {public["web-2"]}{public["ann"]}'
    keys = ask.folder / "shut"
    keys.write_text(lines)
    (ask.folder / "revoked").write_text(public["ann"])
    ask.configure('mode = "keys"', 'keys = ["shut"]', 'revoked_keys = "revoked"')
    for who in ("web-1", fingerprint(ask.folder / "web-1")):
        code, said = ask("explain", "--who", who, "--publish", "21023")
        assert code == 1
        assert f"{keys}, line 1 has this key, and is refused: permitopen=" in said
    code, said = ask("explain", "--who", "web-2", "--publish", "21023")
    assert code == 1
    assert said.endswith(f"{keys}, line 2 has this key, and is disabled: `ferry keys enable web-2` lets it in again")
    for who in ("web-1", fingerprint(ask.folder / "web-1")):
        [answer] = ask.json("explain", "--who", who, "--publish", "21023")[1]["answers"]
        assert (answer["who"], answer["key"]["allowed"], answer["key"]["file"]) == ("web-1", False, None)
    code, said = ask("explain", "--who", "ann", "--publish", "21023")
    assert code == 1
    assert f"its key is on the list of revoked keys ({ask.folder}/revoked)" in said
    assert ask.json("explain", "--who", "ann", "--publish", "21023")[1]["answers"][0]["key"]["code"] == "key_revoked"
    assert ask("who-can", "--publish", "21023") == (1, "nobody may publish port 21023")
    (ask.folder / "revoked").write_text("garbage")
    code, said = ask("explain", "--who", "ann", "--publish", "21023")
    assert code == 1
    assert "nobody may log in, for the list of revoked keys cannot be read: access.revoked_keys: " in said


def test_of_shut_lines_those_of_the_key_alone_are_told(ask: Asked) -> None:
    """A key may have another line that lets it in, and lines may have no name."""
    bare = {name: " ".join((ask.folder / f"{name}.pub").read_text().split()[:2]) for name in OPTIONS}
    keys = ask.folder / "some"
    keys.write_text(
        f"{bare['ann']} name=ann\n#disabled {bare['ann']} old\n#disabled {bare['web-1']} a\n#disabled {bare['web-2']} b\n"
    )
    ask.configure('mode = "keys"', 'keys = ["some"]')
    for name in ("web-1", "web-2"):
        _, found = ask.json("explain", "--who", fingerprint(ask.folder / name), "--publish", "21023")
        assert [answer["key"]["fingerprint"] for answer in found["answers"]] == [fingerprint(ask.folder / name)]
    _, found = ask.json("explain", "--who", "dora", "--publish", "21023")
    assert [answer["key"] for answer in found["answers"]] == [None]


def test_a_file_that_is_not_read_is_told_to_who_asks_about_a_key_in_it(ask: Asked) -> None:
    (ask.folder / "open").write_text((ask.folder / "ann.pub").read_text())
    (ask.folder / "open").chmod(0o666)
    ask.configure('mode = "keys"', 'keys = ["open"]')
    code, said = ask("explain", "--who", "ann", "--publish", "21023")
    assert (code, f"no line of the key files lets it in (access.keys); {ask.folder}/open: " in said) == (1, True), said


def test_a_key_that_has_expired_is_told_so(ask: Asked) -> None:
    (ask.folder / "old").write_text(f'expiry-time="202001011200Z" {(ask.folder / "ann.pub").read_text()}')
    ask.configure('mode = "keys"', 'keys = ["old"]')
    code, said = ask("explain", "--who", "ann", "--publish", "21023")
    assert (code, "the key has expired, on 2020-01-01" in said) == (1, True), said


def test_somebody_in_no_file_may_have_a_certificate(ask: Asked) -> None:
    (ask.folder / "cas").write_text((ask.folder / "ann.pub").read_text().replace("name=ann", ""))
    ca = fingerprint(ask.folder / "ann")
    ask.configure('mode = "keys"', 'keys = ["keys"]', 'trusted_ca_keys = ["cas"]')
    code, said = ask("explain", "--who", "dora", "--publish", "21024")
    assert code == 1
    assert said.endswith(f"who logs in with a certificate is named by its CA and key id: --who {ca}:dora")
    code, said = ask("explain", "--who", f"SHA256:{'x' * 43}", "--publish", "21024")
    assert (code, "no line of the key files lets it in" in said, "certificate" in said) == (1, True, False)


def test_a_login_name_is_looked_at_where_it_is_given(ask: Asked) -> None:
    off = ("[[sshd.match]]", 'user = ["reverse-ssh"]', 'permit_listen = ["21030"]')
    ask.configure('mode = "keys"', 'keys = ["keys"]', *off)
    question = ("explain", "--who", "web-2", "--publish", "21024")
    code, said = ask(*question)
    assert code == 0
    assert said.endswith("login name: none is given, so no [[sshd.match]] with `user` is looked at: write --user LOGIN")
    assert ask(*question, "--user", "root")[0] == 0
    code, said = ask(*question, "--user", "reverse-ssh")
    assert (code, "PermitListen has 21030, not" in said, "login name" in said) == (1, True, False)
    assert ask.json("who-can", "--publish", "21024", "--user", "reverse-ssh")[1]["allowed"] == []


def test_where_every_key_may_log_in_the_rules_are_listed(ask: Asked) -> None:
    ask.configure('mode = "anyone"', 'policy = "policy.toml"')
    code, found = ask.json("who-can", "--publish", "web-7:22")
    assert (code, found["allowed"], [rule["who"] for rule in found["rules"]]) == (0, [], ["web-*"])
    assert "every key may log in" in ask("explain", "--who", "web-7", "--publish", "web-7:22")[1]
    assert ask("who-can", "--publish", "22") == (1, "nobody may publish port 22")
    ask.configure('mode = "anyone"')
    assert ask("who-can", "--publish", "22080")[1].startswith("everybody: any key may log in")
    assert ask("who-can", "--publish", "0")[1].startswith("everybody: any key may log in")
    code, said = ask("who-can", "--reach", "localhost:22080")
    assert code == 1
    assert said.startswith("nobody may reach port 22080, but who holds it")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("explain", "--publish", "22"), "nobody is named: write --who web-1"),
        (("who-can", "--who", "ann", "--publish", "22"), "who-can asks about everybody: leave --who out"),
        (("who-can",), "one question at a time: write --publish 21023, or --reach web-1:22"),
        (("who-can", "--publish", "1", "--reach", "a:1"), "one question at a time"),
        (("explain", "--who", "web-*", "--publish", "22"), "'web-*' is a pattern"),
        (("explain", "--who", "a", "--publish", "99999"), "'99999' is no port"),
        (("explain", "--who", "a", "--reach", "web-1:0"), "'0' is no port"),
        (("explain", "--who", "a", "--publish", "blog:0"), "a name has a port: write blog:80, or blog:22"),
        (("explain", "--who", "a", "--reach", "web-1"), "'web-1' is no host with a port"),
        (
            ("explain", "--who", "a", "--reach", "/run/a/x.sock"),
            "'/run/a/x.sock' is no socket of somebody: write /x.sock",
        ),
        (("explain", "--who", "a", "--publish", "22", "--from", "home"), "--from: 'home' is no address"),
    ],
)
def test_a_wrong_question_is_told_what_to_write(ask: Asked, words: tuple[str, ...], why: str) -> None:
    code, said = ask(*words)
    assert (code, why in said) == (2, True), said


def test_check_config_looks_at_the_policy_file_too(ask: Asked) -> None:
    def finding() -> tuple[str, str]:
        ran = ferry("check-config", "--config", "ferry.toml", "--no-dns", "--json", cwd=ask.folder)
        [found] = [each for each in json.loads(ran.out)["findings"] if each["subject"] == "policy"]
        return found["severity"], found["text"]

    assert finding() == ("ok", f"{ask.policy}: 2 rules, 0 tests passed")
    ask.configure('mode = "keys"', 'keys = ["keys"]', 'policy = "wrong.toml"')
    (ask.folder / "wrong.toml").write_text(POLICY.replace("publish 22", "publish 21000"))
    severity, text = finding()
    assert severity == "FIX"
    assert "denies 'publish 21000', and the rule 'fleet' (line 1) allows it" in text


def test_names_that_no_key_has_are_noted(ask: Asked) -> None:
    (ask.folder / "strange.toml").write_text(FLEET.replace('who = "ann"', 'who = "anne"'))
    why = f"{ask.folder}/strange.toml, line 8: the rule 'staff': no key has the name anne: did you mean ann?"
    ask.configure(
        'mode = "keys"', 'keys = ["keys"]', 'policy = "strange.toml"', "[[sshd.match]]", 'identity = ["web-3"]'
    )
    code, said = ask("check")
    assert (code, said.startswith(f"note: {why} "), said.endswith("2 rules, 0 tags, 0 tests passed")) == (0, True, True)
    assert ask.json("check")[1]["notes"] == [why]
    ran = ferry("check-config", "--config", "ferry.toml", "--no-dns", "--json", cwd=ask.folder)
    noted = [each["text"] for each in json.loads(ran.out)["findings"] if each["severity"] == "note"]
    assert why in noted
    assert any(
        each.startswith("sshd.match 1: identity: no key has the name web-3: did you mean web-") for each in noted
    )


def test_what_the_configuration_refuses_is_told_too(ask: Asked) -> None:
    ask.configure(
        'mode = "keys"', 'keys = ["keys"]', "[[sshd.match]]", 'identity = ["web-2"]', "allow_tcp_forwarding = false"
    )
    code, said = ask("explain", "--who", "web-2", "--publish", "21024")
    assert code == 1
    assert "gateway: " in said
    assert said.endswith(f"({ask.folder}/ferry.toml, line 6: sshd.match 1: allow_tcp_forwarding)")
    code, found = ask.json("explain", "--who", "web-1", "--publish", "9999")
    assert (code, found["answers"][0]["gateway"]["code"]) == (1, "port_outside")
    assert ask.json("explain", "--who", "web-1", "--publish", "21023")[0] == 0
    _, found = ask.json("explain", "--who", "web-1", "--publish", "admin")
    assert found["answers"][0]["gateway"]["code"] == "reserved_name"


def test_a_name_is_asked_about_with_the_gateways_domain_too(ask: Asked) -> None:
    ask.configure('mode = "keys"', 'keys = ["keys"]', 'policy = "domain.toml"')
    toml = ask.folder / "ferry.toml"
    toml.write_text(f'domain = "gw.test"\n{toml.read_text()}')
    questions = '[[test]]\nwho = "ann"\ndeny = "reach web-1.gw.test:22"\n[[test]]\nwho = "web-1"\ndeny = "publish web-1.GW.test:22"\n'
    (ask.folder / "domain.toml").write_text(FLEET.replace('from = ["10.0.0.0/8"]\n', "") + questions)
    code, said = ask("check")
    assert (code, "2 of 2 tests failed" in said) == (1, True), said
    (ask.folder / "domain.toml").write_text(FLEET)
    for who, words in (("ann", ("--reach", "WEB-1.gw.test:22")), ("web-2", ("--publish", "web-2.gw.test:22"))):
        assert ask.json("explain", "--who", who, *words)[1]["answers"][0]["policy"]["allowed"]
    assert ask("explain", "--who", "ann", "--reach", "web-1.gw.test:22")[0] == 1, "permitopen= has the other form"
    assert ask("explain", "--who", "ann", "--reach", "web-1:22")[0] == 0


def test_a_port_that_the_gateway_chooses_is_asked_about(ask: Asked) -> None:
    """It gives public ports, of which a rule has to allow some."""
    for ports, code in (("loopback", 1), ("public", 0), ("*", 0)):
        (ask.folder / "any.toml").write_text(f'[[rule]]\nname = "r"\nwho = "web-2"\npublish.ports = "{ports}"\n')
        assert ask("explain", "any.toml", "--who", "web-2", "--publish", "0")[0] == code
        assert ask.json("who-can", "any.toml", "--publish", "0")[0] == code
    said = ask("explain", "any.toml", "--who", "web-1", "--publish", "localhost:0")[1]
    assert said.startswith("no: web-1 may not publish a port that the gateway chooses policy: ")
    assert "permitlisten= of its line has localhost:21023 only, not localhost:0" in said
    (ask.folder / "any.toml").write_text(FLEET + '[[test]]\nwho = "ann"\ndeny = "publish 0"\n')
    assert "0 is a port that the gateway chooses: write one that it may" in ask("check", "any.toml")[1]
    ask.configure('mode = "anyone"', 'policy = "policy.toml"')
    assert ask("who-can", "--publish", "0")[0] == 2


def test_sockets_are_asked_about_by_the_names_in_the_folder_of_who_asks(ask: Asked) -> None:
    ask.configure(
        'mode = "keys"',
        'keys = ["keys"]',
        'policy = "sockets.toml"',
        "[sshd]",
        f'streamlocal_folder = "{ask.folder}/sockets"',
        "allow_streamlocal_forwarding = true",
    )
    (ask.folder / "sockets.toml").write_text(
        '[[rule]]\nname = "own"\nwho = "*"\npublish.sockets = ["/{name}.sock"]\nreach.sockets = "/DB.sock"\n'
        '[[test]]\nwho = "web-2"\naccept = ["publish /web-2.sock", "reach /DB.sock"]\ndeny = "publish /DB.sock"\n'
    )
    assert ask("check")[1].endswith("1 rule, 0 tags, 3 tests passed")
    code, said = ask("explain", "--who", "web-2", "--publish", "/web-2.sock")
    assert code == 0, said
    assert said.startswith("yes: web-2 may publish the socket /web-2.sock policy: rule 'own' allows it (")
    assert "for its own tunnels alone" not in ask("explain", "--who", "web-2", "--reach", "/DB.sock")[1]
    code, said = ask("explain", "--who", "web-2", "--publish", "/web-1.sock")
    assert code == 1
    assert "the policy does not allow web-2 to publish the socket /web-1.sock: no rule does" in said
    _, found = ask.json("explain", "--who", "web-1", "--publish", "/web-1.sock")
    assert found["answers"][0]["key"]["code"] == "key_socket", "its permitlisten= names a port alone"
    _, found = ask.json("explain", "--who", "web-1", "--reach", "/DB.sock")
    assert found["allowed"]
    _, found = ask.json("who-can", "--reach", "/DB.sock")
    assert [each["who"] for each in found["allowed"]] == ["web-1", "web-2"], "ann has permitopen="
    ask.configure('mode = "keys"', 'keys = ["keys"]', 'policy = "sockets.toml"')
    _, found = ask.json("explain", "--who", "web-2", "--reach", "/DB.sock")
    assert found["answers"][0]["gateway"]["place"] == "sshd.allow_streamlocal_forwarding"


def test_the_holder_of_a_certificate_is_asked_about_by_its_rules(ask: Asked) -> None:
    ca = "SHA256:" + "c" * 43
    (ask.folder / "holders.toml").write_text(FLEET.replace('who = "ann"', f'who = "{ca}:ann"'))
    code, said = ask("explain", "holders.toml", "--who", f"{ca}:ann", "--reach", "web-1:22")
    assert code == 0, said
    assert "key: the certificate and the line of its CA decide too" in said
    toml = ask.folder / "ferry.toml"
    off = ["[[sshd.match]]", f'identity = ["{ca}:a:*"]', "allow_tcp_forwarding = false"]
    ask.configure('mode = "keys"', 'keys = ["keys"]', 'policy = "policy.toml"', *off)
    for key_id, place in (("a:1", f"{toml}, line 7: sshd.match 1: allow_tcp_forwarding"), ("b:1", None)):
        _, found = ask.json("explain", "holders.toml", "--who", f"{ca}:{key_id}", "--reach", "web-1:22")
        assert (found["answers"][0]["gateway"] or {}).get("place") == place


@pytest.mark.parametrize(
    ("target", "allowed", "said"),
    [
        ("localhost:21023", True, "may reach port 21023"),
        ("127.0.0.1:21023", False, "rule 'ports' allows it"),  # the key has the other form alone
        ("127.0.0.1:4001", False, "rule 'hosts' allows it"),
        ("127.0.0.1:4002", False, "no rule does"),
    ],
)
def test_an_address_of_loopback_is_asked_about_as_it_is_typed(
    ask: Asked, target: str, allowed: bool, said: str
) -> None:
    """Of a port and a host of that address, the one is told that the rule or the key allows."""
    key = make_key(ask.folder / re.sub("[.:]", "-", target), comment="name=staff")
    permits = 'permitopen="localhost:21023",permitopen="127.0.0.1:4002"'
    (ask.folder / "staff").write_text(f"{permits} {key.with_suffix('.pub').read_text()}")
    (ask.folder / "both.toml").write_text(
        '[[rule]]\nname = "ports"\nwho = "staff"\nreach.ports = "21023"\n'
        '[[rule]]\nname = "hosts"\nwho = "staff"\nreach.hosts = "127.0.0.1:4001"\n'
    )
    ask.configure('mode = "keys"', 'keys = ["staff"]', 'policy = "both.toml"')
    code, found = ask("explain", "--who", "staff", "--reach", target)
    assert (code, said in found) == (int(not allowed), True), found
    by_key = found.partition(" key: ")[2]
    assert ("allows it" in by_key) is (target in ("localhost:21023", "127.0.0.1:4002")), found
