"""`ferry keys` where a key has several lines, where no line says its name, and beside what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stopped_keys import CONFIG, FIRST, Stopped, fingerprint, public, stopped_in


@pytest.fixture
async def stopped(tmp_path: Path) -> Stopped:
    return await stopped_in(tmp_path)


async def test_what_a_line_says_counts_before_what_was_entered(stopped: Stopped) -> None:
    await stopped.enters(1, "old")
    await stopped.enters(3, "web-3")
    async with stopped.store() as store:
        await store.run(lambda connection: connection.execute("UPDATE keys SET entered = TRUE"))
    with stopped.file.open("a") as file:
        file.write(f"{public(3)}\n{public(4)}\n")
    assert await stopped.names() == ["web-1", "web-2", "web-3", None]


# --- keys that have other lines


@pytest.mark.parametrize("action", ["disable", "remove", "replace"])
async def test_a_key_that_another_line_lets_in_is_not_said_to_be_out(stopped: Stopped, action: str) -> None:
    rest = f'{public(1)} name=web-3\n#disabled {public(1)} laptop\nexpiry-time="20200101" {public(1)} old\n'
    with stopped.file.open("a") as file:
        file.write(rest)
    new = (public(4),) if action == "replace" else ()
    ran = await stopped.keys(action, "web-1", *new)
    left = 4 if action == "remove" else 5  # the line above has gone
    other = "disable" if action == "replace" else action
    assert str(ran.error) == (
        f"still let in: {fingerprint(1)} by {stopped.file}, line {left} as web-3: to take out every line with that key, type "
        f"`ferry keys {other} {fingerprint(1)}`"
    )
    assert "let in no more" not in ran.text
    assert stopped.file.read_text().endswith(f"{public(2)} name=web-2\n{rest}")
    if action == "disable":  # once more
        assert "still let in" in str((await stopped.keys("disable", "web-1")).error)
    assert (await stopped.keys(other, fingerprint(1))).error is None
    assert f"\n{public(1)} " not in stopped.file.read_text()


async def test_all_lines_of_a_name_go_with_it(stopped: Stopped) -> None:
    stopped.file.write_text(f"{public(1)} name=web-1\n{public(2)} name=web-2\n{public(1)} name=web-1\n")
    ran = await stopped.keys("replace", "web-1", public(3))
    assert (ran.error, ran.lines[0]) == (
        None, f"web-1: {fingerprint(3)} in place of {fingerprint(1)}, which is let in no more",
    )  # fmt: skip
    assert (await stopped.keys("disable", "web-1")).error is None
    assert stopped.file.read_text().count("#disabled ") == 2


@pytest.mark.parametrize("by", ["line", "file", "revoked"])
async def test_a_certificate_for_a_key_that_is_taken_out_is_thought_of(stopped: Stopped, by: str) -> None:
    assert "takes certificates" not in (await stopped.keys("disable", "web-2")).text
    if by == "line":
        with stopped.file.open("a") as file:
            file.write(f"cert-authority {public(9)} ca\n")
    else:
        more = 'trusted_ca_keys = "ca"\n' + ('revoked_keys = "gone"\n' if by == "revoked" else "")
        stopped.config.write_text(CONFIG.replace("[tcp]", f"{more}[tcp]"))
        (stopped.folder / "ca").write_text(public(9))
        (stopped.folder / "gone").write_text("")
    where = (
        f"{stopped.folder}/gone (access.revoked_keys)" if by == "revoked" else "a file that access.revoked_keys names"
    )
    ran = await stopped.keys("disable", "web-1")
    assert ran.error is None
    assert f"would let it in: write {fingerprint(1)} into {where}" in " ".join(ran.text.split())
    assert "takes certificates" not in (await stopped.keys("enable", "web-1")).text


# --- names that no line says


@pytest.fixture
async def per_login(stopped: Stopped) -> Stopped:
    """With a file for each login name, and two machines of one name."""
    (stopped.folder / "keys.d").mkdir()
    stopped.config.write_text(CONFIG.replace('"authorized_keys"', '"keys.d/%u", "authorized_keys"'))
    for number, user in ((7, "joe"), (8, "ann")):
        assert (await stopped.keys("add", "mach-9", public(number), "--user", user, "--listen", "ssh")).error is None
    return stopped


def of_login(stopped: Stopped) -> dict[str, str]:
    """The files."""
    return {path.name: path.read_text() for path in (stopped.folder / "keys.d").iterdir()}


async def test_a_name_that_the_gateway_keeps_for_keys_means_their_lines(per_login: Stopped) -> None:
    joe, ann = f"{public(7)}\n", f"{public(8)}\n"
    files = of_login(per_login)
    assert files["joe"].endswith(joe)
    assert await per_login.names("mach-9") == ["mach-9", "mach-9"]
    ran = await per_login.keys("disable", "mach-9")
    assert [line.split(" in ")[0] for line in ran.lines] == [
        f"disabled mach-9 ({fingerprint(number)})" for number in (8, 7)
    ]
    assert of_login(per_login) == {name: f"#disabled {text}" for name, text in files.items()}
    assert (await per_login.keys("enable", "mach-9")).error is None
    assert of_login(per_login) == files
    assert "mach-9 has 2 keys" in str((await per_login.keys("replace", "mach-9", public(9))).error)
    ran = await per_login.keys("remove", "mach-9")
    assert ran.lines[-1] == f"gave back port {FIRST}"
    assert of_login(per_login) == {"joe": "", "ann": ""}
    assert ann not in per_login.file.read_text()


async def test_a_machine_whose_name_the_gateway_keeps_is_rekeyed_by_it(per_login: Stopped) -> None:
    assert (await per_login.keys("remove", fingerprint(8))).lines[-1] == "its names and ports stay: it has other keys"
    ran = await per_login.keys("replace", "mach-9", public(9))
    assert ran.lines == [
        f"mach-9: {fingerprint(9)} in place of {fingerprint(7)}, which is let in no more", f"its own are port {FIRST}",
    ]  # fmt: skip
    assert public(9) in of_login(per_login)["joe"]
    assert await per_login.names("mach-9") == ["mach-9"]
    assert (await per_login.keys("remove", "mach-9", "--keep")).lines[-1] == f"kept port {FIRST}"


async def test_a_name_that_was_taken_out_of_its_line_means_no_line(stopped: Stopped) -> None:
    """It goes with the next log-in of the key; until then the gateway has it."""
    await stopped.comes(1, "web-1")
    stopped.file.write_text(f"{public(1)}\n")
    assert await stopped.names() == [None]
    for action, *key in (("remove",), ("disable",), ("replace", public(3))):
        assert await stopped.refused(action, "web-1", *key) == (
            f"{stopped.file}, line 1 has the key that was web-1, without that name: write {fingerprint(1)} in place of web-1"
        )
    stopped.file.write_text(f"restrct {public(1)}\n")
    assert f"{stopped.file}, line 1 has the key of {fingerprint(1)}, and is refused" in await stopped.refused(
        "remove", "web-1"
    )


async def test_a_line_that_says_its_name_is_found_without_the_database(per_login: Stopped) -> None:
    """A stolen key must go while the gateway's disk is broken, too."""
    (per_login.folder / "state" / "ferry.db").write_bytes(b"no database" * 1000)
    ran = await per_login.keys("disable", "web-1")
    assert ran.error is None
    assert f"#disabled {public(1)} name=web-1\n" in per_login.file.read_text()
    assert "keys that the gateway knows as web-1, and whose lines do not say it, were not looked for" in ran.text
    assert "ferry.db" in await per_login.refused("disable", "mach-9")
    assert (await per_login.keys("disable", fingerprint(7))).error is None
    assert of_login(per_login)["joe"].startswith("#disabled ")


# --- what stands beside the files of a folder


@pytest.fixture
async def with_folder(stopped: Stopped) -> Stopped:
    """With a folder of keys."""
    folder = stopped.folder / "keys.d"
    folder.mkdir()
    stopped.config.write_text(CONFIG.replace("authorized_keys", "keys.d"))
    stopped.file = stopped.file.rename(folder / "fleet.keys")
    return stopped


@pytest.mark.parametrize("what", ["folder", "pipe", "link"])
async def test_keys_are_listed_and_disabled_beside_what_has_no_lines(with_folder: Stopped, what: str) -> None:
    beside = with_folder.file.parent / "old"
    match what:
        case "folder":
            beside.mkdir()
        case "pipe":
            os.mkfifo(beside)
        case _:
            beside.symlink_to("nowhere")
    ran = await with_folder.keys()
    why = "it cannot be read (No such file or directory)" if what == "link" else "it is not a file, and is not read"
    assert f"note: passed over: {beside}: {why}" in ran.text
    assert await with_folder.names() == ["web-1", "web-2"]
    assert (await with_folder.keys("disable", "web-1")).error is None
    assert with_folder.file.read_text().startswith(f"# machines\n\n#disabled {public(1)} name=web-1\n")
    assert (await with_folder.keys("add", "web-3", public(3))).error is None
    assert (await with_folder.keys("replace", "web-3", public(4))).error is None
    assert (await with_folder.keys("remove", "web-2")).error is None


async def test_what_is_passed_over_is_counted(with_folder: Stopped) -> None:
    for name in ("old", "older", "oldest"):
        (with_folder.file.parent / name).mkdir()
    assert (
        "it is not a file, and is not read: put keys into files, or into files of one folder (and 2 more)"
        in " ".join((await with_folder.keys()).text.split())
    )
