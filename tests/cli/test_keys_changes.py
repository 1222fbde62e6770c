"""`ferry keys` in this process, with the state folder of a gateway that has stopped: which lines and keys are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from console_commands import run, running
from ferry.cli import locate
from ferry.cli.keys import keys
from ferry.cli.ports import ports
from ferry.names import Address
from ferry.ownership import rights_of
from other_user import NOBODY, needs_root, passable_folder
from stopped_keys import CONFIG, FIRST, Stopped, fingerprint, public, stopped_in


@pytest.fixture
async def stopped(tmp_path: Path) -> Stopped:
    return await stopped_in(tmp_path)


# --- the policy


async def test_the_rules_of_the_next_start_are_asked(stopped: Stopped) -> None:
    policy = stopped.folder / "policy.toml"
    assert (await stopped.keys("add", "web-5", public(5), "--listen", "ssh", "--json")).json["policy"] is None
    stopped.config.write_text(CONFIG.replace("[tcp]", 'policy = "policy.toml"\n[tcp]'))
    policy.write_text('[[rule]]\nname = "machines"\nwho = ["web-7"]\npublish.ports = ["ssh"]\n')
    ran = await stopped.keys("add", "web-6", public(6), "--listen", "ssh")
    assert f"In {policy}, for no rule lets web-6 publish port {FIRST + 1}:\n[[rule]]\n" in ran.text
    assert "Or: rule 'machines' (line 1) allows it to web-7: add \"web-6\" to its who\n" in ran.text
    assert "each needs" not in ran.text
    ran = await stopped.keys("add", "web-7", public(7), "--listen", "ssh")
    assert f"rule 'machines' lets web-7 publish port {FIRST + 2} ({policy}, line" in " ".join(ran.text.split())
    listed = (await stopped.keys("list", "--json")).json
    assert {row["name"]: row["unruled"] for row in listed if row["ports"]} == {
        "web-5": [FIRST], "web-6": [FIRST + 1], "web-7": [],
    }  # fmt: skip
    states = [line.split()[2:4] for line in (await stopped.keys()).lines if line.startswith("web-")]
    assert states[2:] == [["no", "rule"], ["no", "rule"], ["enabled", str(FIRST + 2)]]
    with stopped.file.open("a") as file:
        file.write(f'#disabled permitlisten="{FIRST + 1}" {public(9)} name=web-6\n')
    states = [line.split()[2:4] for line in (await stopped.keys()).lines if line.startswith("web-6")]
    assert states == [["no", "rule"], ["disabled", str(FIRST + 1)]]
    assert "no rule" in (await run(ports, "--config", str(stopped.config))).text
    policy.write_text("[[rule]]\n")
    ran = await stopped.keys("add", "web-8", public(8))
    assert ran.code == 0
    assert "cannot be put in force, so the gateway does not start" in " ".join(ran.text.split())
    assert "the rule is for nobody: write who" in " ".join(ran.text.split())
    assert stopped.file.read_text().endswith("name=web-8\n")


# --- list


async def test_a_name_or_a_fingerprint_picks_from_the_list(stopped: Stopped) -> None:
    for number in (1, 3):  # one has a line
        await stopped.enters(number, f"web-{number}")
    await stopped.comes(4)  # its line has gone
    assert await stopped.names() == ["web-1", "web-2", "web-3"]
    for number in (1, 2, 3):
        for wanted in (f"web-{number}", fingerprint(number)):
            assert await stopped.names(wanted) == [f"web-{number}"]
    assert "no line of the key files has a key of web-4" in await stopped.refused("list", "web-4")
    stopped.file.write_text("")
    assert await stopped.names() == ["web-1", "web-3"]


async def test_lines_that_let_nobody_in_are_listed_with_their_state(stopped: Stopped) -> None:
    stopped.file.write_text(
        f'expiry-time="20200101" {public(1)} name=web-1\nexpiry-time="29990101" {public(2)} name=web-2\n'
        f"restrct {public(3)} name=web-3\nnonsense\n#disabled {public(4)} name=web-4\n"
    )
    listed = (await stopped.keys("--json")).json
    states = {row["line"]: (row["name"], row["state"]) for row in listed}
    assert states == {
        1: ("web-1", "expired"), 2: ("web-2", "enabled"), 3: ("web-3", "refused"), 4: (None, "refused"),
        5: ("web-4", "disabled"),
    }  # fmt: skip
    for number in (1, 3):
        assert await stopped.names(f"web-{number}") == [f"web-{number}"]
    for action in ("disable", "remove"):
        assert f"{stopped.file}, line 3 has the key of web-3, and is refused" in await stopped.refused(action, "web-3")
        assert "no line of the key files has a key of web-9" in await stopped.refused(action, "web-9")


async def test_where_every_key_is_let_in_there_is_no_list(stopped: Stopped) -> None:
    await stopped.enters(1, "web-1")
    stopped.config.write_text(CONFIG.replace('"keys"\n', '"anyone"\n').replace('keys = ["authorized_keys"]\n', ""))
    assert (await stopped.keys()).text == "every key is let in: there are no key files\n"
    assert (await stopped.keys("add", "web-3", public(3), "--json")).json["file"] is None
    assert "this gateway lets in every key: it has no key files" in await stopped.refused("disable", "web-1")


async def test_ports_that_are_kept_for_good_are_listed_and_those_kept_by_use_are_not(stopped: Stopped) -> None:
    for number in (1, 3):  # one has a line
        await stopped.enters(number, f"web-{number}", "ssh")
    await stopped.uses(
        await stopped.comes(1, "web-1"), Address.from_key("tcp::21009"), Address.from_key("http:a.localhost")
    )
    listed = (await stopped.keys("--json")).json
    assert [row["ports"] for row in listed] == [[FIRST], [], [FIRST + 1]]


# --- add


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--user", "a/b"), "--user a/b: that is no login name"),
        (("--listen", "ssh", "--listen", "ssh=23"), "--listen ssh stands twice: write ssh:NAME for a second one"),
        (("--listen", "ssh=0"), "--listen ssh=0: '0' is no port: write ssh=3000"),
        (("--listen", "ssh=65536"), "'65536' is no port"),
        (("--listen", "ssh=no"), "'no' is no port"),
        (("--listen", "ssh=\uff12\uff12"), "is no port: write ssh=3000"),
        (("--expires", "soon"), "write it as YYYYMMDD"),
        (("--from", "192.0.2.1\n#"), "an option has a line break: leave it out"),
        (("--from", "192.0.2.1\r"), "an option has a line break: leave it out"),
    ],
)
async def test_what_no_line_could_have_is_refused(stopped: Stopped, arguments: tuple[str, ...], says: str) -> None:
    assert says in await stopped.refused("add", "web-3", public(3), *arguments)
    assert await stopped.names() == ["web-1", "web-2"]


async def test_each_port_has_its_own_service(stopped: Stopped) -> None:
    added = (await stopped.keys("add", "web-3", public(3), "--listen", "ssh", "--listen", "ssh:b=65535", "--json")).json
    forwards = f"-R localhost:{FIRST}:localhost:22 -R localhost:{FIRST + 1}:localhost:65535"
    assert added["command"] == f"ssh -N {forwards} -p 2222 web-3@localhost"


async def test_a_key_that_has_a_line_gets_no_other(stopped: Stopped) -> None:
    assert f"the key stands in {stopped.file}, line 3 already" in await stopped.refused("add", "web-3", public(1))


async def test_a_file_with_a_key_may_have_comments_and_empty_lines(stopped: Stopped, tmp_path: Path) -> None:
    (tmp_path / "web-3.pub").write_text(f"# of web-3\n\n{public(3)} root@web-3\n")
    assert (await stopped.keys("add", "web-3", str(tmp_path / "web-3.pub"))).error is None
    assert stopped.file.read_text().endswith(f"\n{public(3)} name=web-3\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "web-3.pub has 0 lines: one public key is needed, `ssh-ed25519 AAAA...`"),
        (f"{public(3)}\n{public(4)}\n", "web-3.pub has 2 lines: one public key is needed, `ssh-ed25519 AAAA...`"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "web-3.pub is a private key: name the .pub file beside it"),
        ("# of web-3\nssh-ed25519 x\n", "web-3.pub, line 2: the key is "),
    ],
)
async def test_a_file_without_one_public_key_is_refused(
    stopped: Stopped, tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "web-3.pub").write_text(content)
    for action in ("add", "replace"):
        assert says in await stopped.refused(action, "web-1", str(tmp_path / "web-3.pub"))


async def test_a_file_that_is_too_large_is_no_key(stopped: Stopped, tmp_path: Path) -> None:
    (tmp_path / "web-3.pub").write_text(f"{public(3)} {'x' * 65_536}\n")
    said = await stopped.refused("add", "web-3", str(tmp_path / "web-3.pub"))
    assert said == f"{tmp_path}/web-3.pub is larger than 64 KiB: one public key is needed, `ssh-ed25519 AAAA...`"


async def test_a_login_name_chooses_the_file_where_the_path_has_one(stopped: Stopped) -> None:
    (stopped.folder / "keys.d").mkdir()
    stopped.config.write_text(CONFIG.replace("authorized_keys", "keys.d/%u"))
    assert (await stopped.keys("add", "web-3", public(3), "--user", "backup")).error is None
    assert (stopped.folder / "keys.d" / "backup").read_text() == f"{public(3)}\n"


async def test_programs_learn_that_the_line_is_in_no_file(stopped: Stopped) -> None:
    stopped.file.rename(stopped.folder / "target")
    stopped.file.symlink_to("target")
    ran = await stopped.keys("add", "web-3", public(3), "--json")
    assert '"file": null' in ran.text
    assert "is a symbolic link: write the file itself into access.keys: add the line above to it" in str(ran.error)


# --- replace


async def test_a_key_is_replaced_beside_the_lines_of_others_and_its_own(stopped: Stopped) -> None:
    ran = await stopped.keys("replace", "web-1", public(3), "--json")
    assert {name: ran.json[name] for name in ("name", "old", "new")} == {
        "name": "web-1", "old": fingerprint(1), "new": fingerprint(3),
    }  # fmt: skip
    assert stopped.file.read_text() == f"# machines\n\n{public(3)} name=web-1\n{public(2)} name=web-2\n"
    stopped.file.write_text(f"{public(3)} name=web-1\n{public(4)} name=web-1\n")
    assert (await stopped.keys("replace", "web-1", public(4))).error is None
    assert stopped.file.read_text() == f"{public(4)} name=web-1\n" * 2


async def test_where_the_policy_names_the_old_key_is_told(stopped: Stopped) -> None:
    policy = stopped.folder / "policy.toml"
    stopped.config.write_text(CONFIG.replace("[tcp]", 'policy = "policy.toml"\n[tcp]'))
    policy.write_text(
        f'[tags]\nfleet = ["{fingerprint(1)}"]\n[[rule]]\nname = "a"\nwho = ["web-2", "{fingerprint(1)}"]\n'
        'publish.ports = ["ssh"]\n'
    )
    ran = await stopped.keys("replace", "web-1", public(3))
    told = f"it names the old key: write {fingerprint(3)} there"
    for place in (f"{policy}: [tags] fleet", f"{policy}, line 3: a"):
        assert f"note: {place}: {told}" in " ".join(ran.text.split())
    assert "names the old key" not in (await stopped.keys("replace", "web-2", public(4))).text


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (2, "the new key stands in {file}, line 4 already, for another: `ferry keys remove` it first"),
        (1, "web-1 has that key already: there is nothing to replace"),
    ],
)
async def test_a_key_that_stands_in_a_file_replaces_none(stopped: Stopped, number: int, says: str) -> None:
    assert await stopped.refused("replace", "web-1", public(number)) == says.format(file=stopped.file)


async def test_which_of_several_keys_is_replaced_is_to_be_said(stopped: Stopped) -> None:
    stopped.file.write_text(f"{public(1)} name=web-1\n{public(2)} name=web-1\n")
    said = await stopped.refused("replace", "web-1", public(3))
    assert said.startswith("web-1 has 2 keys: write which in place of the name, one of SHA256:")
    assert (await stopped.keys("replace", fingerprint(2), public(3))).error is None
    assert stopped.file.read_text() == f"{public(1)} name=web-1\n{public(3)} name=web-1\n"


# --- disable, remove


async def test_only_the_lines_that_are_meant_change(stopped: Stopped) -> None:
    for wanted in ("web-1", fingerprint(1)):
        assert (
            await stopped.keys("disable", wanted)
        ).text == f"disabled web-1 ({fingerprint(1)}) in {stopped.file}, line 3\n"
        assert stopped.file.read_text() == f"# machines\n\n#disabled {public(1)} name=web-1\n{public(2)} name=web-2\n"
        assert (await stopped.keys("enable", wanted)).error is None


async def test_programs_learn_which_lines_have_changed(stopped: Stopped) -> None:
    (changed,) = (await stopped.keys("disable", "web-1", "--json")).json
    assert (changed["what"], changed["fingerprint"], changed["line"]) == ("disabled", fingerprint(1), 3)
    assert (await stopped.keys("disable", "web-1", "--json")).json == []


async def test_no_key_is_forgotten_but_the_one_that_is_meant(stopped: Stopped) -> None:
    await stopped.enters(3, "web-3")
    assert "has a key of web-9: there are web-1, web-2" in await stopped.refused("remove", "web-9")
    assert await stopped.names() == ["web-1", "web-2", "web-3"]


async def test_a_port_of_a_line_is_free_unless_another_key_of_the_name_stays(stopped: Stopped) -> None:
    of_line = f'permitlisten="localhost:{FIRST}" '
    stopped.file.write_text(f"{of_line}{public(1)} name=web-1\n{of_line}{public(2)} name=web-1\n")
    for number, last in (
        (1, "its names and ports stay: it has other keys"),
        (2, f"port {FIRST}: kept by its line alone, and free now"),
    ):
        removed = (await stopped.keys("remove", fingerprint(number))).lines
        assert removed == [f"removed web-1 ({fingerprint(number)}) from {stopped.file}, line 1", last]


async def test_names_and_ports_may_be_kept(stopped: Stopped) -> None:
    await stopped.enters(1, "web-1", "ssh")
    ran = await stopped.keys("remove", "web-1", "--keep")
    assert ran.lines == [f"removed web-1 ({fingerprint(1)}) from {stopped.file}, line 3", f"kept port {FIRST}"]
    await stopped.enters(3, "web-1", "ssh")
    document = (await stopped.keys("remove", "web-1", "--json")).json
    assert (document["removed"], [one["address"] for one in document["held"]], document["freed"]) == (
        [], [f"port {FIRST}"], True,
    )  # fmt: skip


async def test_a_key_without_a_name_or_with_two_is_removed_alone(stopped: Stopped) -> None:
    stopped.file.write_text(f"{public(1)}\n{public(2)} name=web-2\n{public(2)} name=web-3\n")
    for number in (1, 2):
        ran = await stopped.keys("remove", fingerprint(number))
        assert (ran.error, ran.lines[-1]) == (None, "it had no names or ports")
    assert stopped.file.read_text() == ""
    assert "no line of the key files has a key of web-2" in await stopped.refused("remove", "web-2")


# --- the gateway that is meant


async def test_a_gateway_that_runs_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path):
        for arguments in (("list",), ("add", "web-1", public(1))):
            ran = await run(keys, *arguments, "--state", str(tmp_path))
            assert "the database cannot be used at the moment" in str(ran.error)
        table = await run(ports, "--state", str(tmp_path))
        assert (table.error, table.text) == (None, "no port is up, reserved, or named by a key\n")


async def test_a_gateway_that_is_not_there_is_to_be_named(
    tmp_path: Path, stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("FERRY_STATE", "FERRY_CLONE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SYSTEM_CONFIG", "SYSTEM_STATE"):
        monkeypatch.setattr(locate, name, tmp_path / "none")
    said = [str((await run(keys, *arguments)).error) for arguments in ((), ("--state", str(stopped.folder / "state")))]
    assert said == [
        "no gateway found: name its configuration with --config FILE",
        f"no gateway runs in {stopped.folder}/state: name its configuration with --config FILE",
    ]


@needs_root
async def test_a_folder_that_is_not_ones_own_is_said_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with passable_folder() as folder:
        (folder / "state").mkdir(mode=0o700)
        with rights_of(NOBODY):
            ran = await run(keys, "--state", str(folder / "state"))
    assert str(ran.error) == f"{folder}/state: permission denied: run this with sudo, or as the gateway's user"
