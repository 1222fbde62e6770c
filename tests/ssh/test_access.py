"""Files and folders of keys: the files that count, and reading them again."""

from __future__ import annotations

import calendar
import os
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from ferry.errors import StartupError
from ferry.names import Fingerprint
from ferry.policy.keys import ANY_KEY, Certified, KeyLine
from ferry.protocol.key_paths import AccessPaths
from ferry.regular_files import read_regular
from ferry.ssh import access
from ferry.ssh.access import Anyone, AuthorizedKeys
from ferry.ssh.access_lines import Found, read_listed
from ferry.ssh.key_files import listing_of
from ferry.this_host import THIS_HOST
from made_certificate import made
from ssh_command import fingerprint

KEY_FILE_BYTES = 4 * 1024 * 1024
KEY_LINES_REFUSED = 100
Reports = list[tuple[str, dict[str, object]]]


FIX = "use letters, digits and hyphens, with a letter or digit first and last"


@pytest.fixture
def reports() -> Reports:
    return []


@pytest.fixture
def read(reports: Reports) -> Callable[..., AuthorizedKeys]:
    def report(event: str, /, **fields: object) -> None:
        reports.append((event, fields))

    def make(*paths: Path, cas: Path | None = None) -> AuthorizedKeys:
        keys = AuthorizedKeys(AccessPaths(paths, () if cas is None else (cas,)), report)
        keys.use(None)
        return keys

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty one, for files of keys."""
    made = tmp_path / "keys"
    made.mkdir()
    return made


def loaded(reports: Reports) -> object:
    """The number of keys, as reported last."""
    return next(fields["keys"] for event, fields in reversed(reports) if event == "keys.loaded")


def not_read(why: str) -> str:
    """What is told of a file or folder."""
    fix = "put it back, or let the gateway's user read it"
    return f"it cannot be read ({why}): {fix} (until then its keys do not log in, and those who are here stay)"


def refresh(keys: AuthorizedKeys) -> None:
    """As the gateway does it again and again."""
    keys.use(keys.read())


def public(key: Path, comment: str = "") -> str:
    return f"{key.with_suffix('.pub').read_text().rstrip()} {comment}\n"


def knows(keys: AuthorizedKeys, key: Path) -> bool:
    return bool(lines_of(keys, key))


def lines_of(keys: AuthorizedKeys, key: Path) -> list[KeyLine]:
    return list(keys.lines_of(Fingerprint(fingerprint(key))))


def names_of(keys: AuthorizedKeys, key: Path) -> list[str | None]:
    return [line.name for line in lines_of(keys, key)]


def test_anyone_accepts_all_keys() -> None:
    assert Anyone().allows_keyless
    assert list(Anyone().lines_of(Fingerprint("SHA256:any"))) == [ANY_KEY]
    Anyone().use(None)


def test_the_log_does_not_repeat_the_text_in_the_place_of_a_name(
    read: Callable[..., AuthorizedKeys], key: Path, tmp_path: Path, reports: Reports
) -> None:
    """A password that was pasted into a key's comment."""
    file = tmp_path / "keys"
    file.write_text(public(key, "name=ann:Sesame17"))
    read(file)
    assert loaded(reports) == 0
    [(event, fields)] = [report for report in reports if report[0] == "keys.rejected"]
    assert fields == {"path": str(file), "line": 1, "error": f"the identity name has ':' in it: {FIX}"}
    assert "Sesame17" not in str(reports), event


def test_a_file_and_its_names(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path, reports: Reports
) -> None:
    one, two, other = new_key(), new_key(), new_key()
    (tmp_path / "keys").write_text(public(one, "name=alice") + "nonsense\n" + public(two))
    keys = read(tmp_path / "keys")
    assert [names_of(keys, key) for key in (one, two, other)] == [["alice"], [None], []]
    assert [(line.file, line.number) for line in lines_of(keys, two)] == [(str(tmp_path / "keys"), 3)]
    assert not keys.allows_keyless
    assert [event for event, _ in reports] == ["keys.rejected", "keys.loaded"]
    assert (reports[0][1]["path"], reports[0][1]["line"]) == (str(tmp_path / "keys"), 2)
    digest = sha256((tmp_path / "keys").read_bytes()).hexdigest()
    assert reports[1][1] == {"keys": 2, "files": 1, "authorities": 0, "revoked": 0, "sha256": digest}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ann.pub", "ann"), ("ann.keys", "ann"), ("ann", "ann"), ("Web-1.pub", "web-1"), ("id_ed25519.pub", None),
        ("authorized_keys", None), ("ann.txt", None), ("xn--ann.pub", None),
    ],
)  # fmt: skip
def test_in_a_folder_the_file_names_the_identity_of_keys_without_a_name(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], folder: Path, file: str, name: str | None
) -> None:
    plain, named = new_key(), new_key()
    (folder / file).write_text(public(plain) + public(named, "name=bob") + f'from="::1" {public(plain)}')
    keys = read(folder)
    assert [names_of(keys, key) for key in (plain, named)] == [[name, name], ["bob"]]
    assert names_of(read(folder / file), plain) == [None, None]


@pytest.mark.parametrize("other", ["", "#disabled ", 'permitopen="any:any" '])
@pytest.mark.parametrize("file", ["fleet", "fleet.pub"])
def test_a_file_of_several_keys_makes_no_identity_of_them_by_its_name(
    read: Callable[..., AuthorizedKeys],
    new_key: Callable[[], Path],
    folder: Path,
    reports: Reports,
    file: str,
    other: str,
) -> None:
    """A fleet's hand-kept file, put into the folder: each machine reached the ports of all others."""
    one, two = new_key(), new_key()
    (folder / file).write_text(public(one, "root@web-1") + other + public(two, "root@web-2"))
    keys = read(folder)
    assert (names_of(keys, one), names_of(keys, two)) == ([None], [] if other else [None])
    [fields] = [fields for event, fields in reports if event == "keys.unclear"]
    assert fields["path"] == str(folder / file)
    assert "write name= into the comment of each line, or call the file fleet.keys if all are" in str(fields["why"])


def test_a_file_that_is_called_so_has_several_keys_of_one_identity(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], folder: Path, reports: Reports
) -> None:
    one, two = new_key(), new_key()
    file = folder / "web-1.keys"
    file.write_text(f'permitlisten="21001" {public(one)}permitlisten="21002" {public(two)}')
    keys = read(folder)
    assert [names_of(keys, key) for key in (one, two)] == [["web-1"], ["web-1"]]
    [fields] = [fields for event, fields in reports if event == "keys.unclear"]
    assert "its 2 keys are one identity, web-1, and name no port in common" in str(fields["why"])
    file.write_text(f'permitlisten="21001" {public(one)}permitlisten="21001",permitlisten="21002" {public(two)}')
    reports.clear()
    read(folder)
    assert [event for event, _ in reports] == ["keys.loaded"]


def test_a_local_time_is_a_standard_time_as_in_sshd(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
            time.tzset()
            for month in (1, 7):
                assert THIS_HOST.local_time(2030, month, 1, 12, 0, 0) == calendar.timegm((2030, month, 1, 11, 0, 0))
    finally:
        time.tzset()


def test_a_service_without_a_port_is_none() -> None:
    assert [THIS_HOST.port_of(name) for name in ("any", "", "a\0b")] == [None, None, None]


def test_a_key_on_several_lines_has_all_of_them_in_the_order_of_the_files(
    read: Callable[..., AuthorizedKeys], key: Path, folder: Path, tmp_path: Path, reports: Reports
) -> None:
    (folder / "b").write_text(f"restrict {public(key, 'name=bob')}{public(key, 'name=carol')}")
    (folder / "a").write_text(public(key, "name=ann"))
    last = tmp_path / "last"
    last.write_text(public(key, "name=last"))
    keys = read(folder, last)
    assert names_of(keys, key) == ["ann", "bob", "carol", "last"]
    assert [line.options.forwards_off for line in lines_of(keys, key)] == ["", "restrict", "", ""]
    assert loaded(reports) == 1


def test_a_line_that_cannot_be_kept_to_is_refused_as_a_whole_and_the_others_count(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path, reports: Reports
) -> None:
    good, bad, authority = new_key(), new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(
        f'permitopen="any:any" {public(bad)}cert-authority,principals="ann" {public(authority)}no-pty {public(good)}'
    )
    keys = read(file)
    assert [knows(keys, key) for key in (good, bad, authority)] == [True, False, False]
    errors = [(fields["line"], fields["error"]) for event, fields in reports if event == "keys.rejected"]
    assert errors[0] == (1, "permitopen: no port")
    assert errors[1:] == []
    assert reports[-1][1]["authorities"] == 1


def test_with_u_in_its_path_a_file_is_for_one_login_name(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], folder: Path, reports: Reports
) -> None:
    """It names no identity: many machines log in with one name."""
    both, backup = new_key(), new_key()
    for user, text in (("dev", public(both)), ("backup", public(both) + public(backup)), (".hidden", public(backup))):
        (folder / user / "ssh").mkdir(parents=True)
        (folder / user / "ssh" / "authorized_keys").write_text(text)
    (folder / "nobody").mkdir()
    (folder / "file").write_text("")
    keys = read(folder / "%u" / "ssh" / "authorized_keys")
    assert [(line.user, line.name) for line in lines_of(keys, both)] == [("backup", None), ("dev", None)]
    assert [line.user for line in lines_of(keys, backup)] == ["backup"]
    assert [event for event, _ in reports] == ["keys.loaded"]
    (folder / "dev" / "ssh" / "authorized_keys").write_text("")
    refresh(keys)
    assert [line.user for line in lines_of(keys, both)] == ["backup"]


def test_the_copies_of_an_editor_are_no_files_of_login_names(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], folder: Path, reports: Reports
) -> None:
    """Else whoever logs in as `dev.bak` has the keys that dev has no more."""
    key = new_key()
    for name in ("dev", "dev~", ".dev.swp", "dev.bak", "dev.old", "ann.smith"):
        (folder / name).write_text(public(key))
    assert [line.user for line in lines_of(read(folder / "%u"), key)] == ["ann.smith", "dev"]
    told = [Path(str(fields["path"])).name for event, fields in reports if event == "keys.unclear"]
    assert told == ["dev.bak", "dev.old"]
    for name in ("dev", "dev.bak"):
        (folder / f"{name}.pub").write_text(public(key))
    assert [line.user for line in lines_of(read(folder / "%u.pub"), key)] == ["dev"]


def test_the_owner_of_the_file_of_a_login_name_takes_no_identity_by_a_name(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], folder: Path, reports: Reports
) -> None:
    """`name=admin` in one's own file would be the operator's word, in a file that the operator does not write."""
    named, plain = new_key(), new_key()
    (folder / "dev").write_text(public(named, "name=admin") + public(plain))
    keys = read(folder / "%u")
    assert (names_of(keys, named), names_of(keys, plain)) == ([], [None])
    [(event, fields)] = [report for report in reports if report[0] == "keys.rejected"]
    assert (event, fields["path"], fields["line"]) == ("keys.rejected", str(folder / "dev"), 1)
    assert "remove name=, or let the operator put the line into a file without %u" in str(fields["error"])


def test_a_file_that_its_owner_exchanges_for_a_pipe_after_the_look_holds_nobody_up(folder: Path) -> None:
    """To open a pipe waits for its other end: the reader of all key files would hang for ever."""
    paths, file = AccessPaths((folder / "%u",)), folder / "dev"
    file.write_text("")
    listing = listing_of(paths)
    file.unlink()
    os.mkfifo(file)
    found: list[Found] = []
    reader = threading.Thread(target=lambda: found.append(read_listed(paths, listing)), daemon=True)
    reader.start()
    reader.join(5)
    assert [(rejected.path, rejected.why[:17]) for rejected in found[0].rejected] == [(file, "it is not a file,")]


def test_a_file_of_bad_lines_gives_a_bounded_number_of_reports(
    read: Callable[..., AuthorizedKeys], folder: Path, reports: Reports
) -> None:
    """Each is made on the event loop, and whoever may write one file could write two million such lines."""
    (folder / "dev").write_text("x\n" * (KEY_LINES_REFUSED + 7))
    read(folder / "%u")
    rejected = [fields for event, fields in reports if event == "keys.rejected"]
    assert [fields["line"] for fields in rejected] == [*range(1, KEY_LINES_REFUSED + 1), 0]
    assert rejected[-1]["error"] == "7 more of its lines are refused: correct these"


def test_the_folder_above_u_has_to_be_there(read: Callable[..., AuthorizedKeys], tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"nowhere does not exist: make the file or folder"):
        read(tmp_path / "nowhere" / "%u")


def test_all_files_of_a_folder_count_but_hidden_ones_copies_and_folders(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path, reports: Reports
) -> None:
    folder = tmp_path / "keys"
    (folder / "deeper").mkdir(parents=True)
    made = {name: new_key() for name in ("alice", "bob.pub", ".hidden", "alice~", "deeper/carol")}
    for name, key in made.items():
        (folder / name).write_text(public(key))
    os.mkfifo(folder / "pipe")  # reading it would wait for ever
    (folder / "broken").symlink_to(folder / "nowhere")
    keys = read(folder)
    assert {name for name, key in made.items() if knows(keys, key)} == {"alice", "bob.pub"}
    rejected = {
        Path(str(fields["path"])).name: fields["error"] for event, fields in reports if event == "keys.rejected"
    }
    assert rejected.keys() == {"deeper", "pipe", "broken"}
    assert "it is not a file, and is not read" in str(rejected["deeper"])
    assert "No such file" in str(rejected["broken"])


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        *((name, False) for name in (
            "fleet.keys.bak", "fleet.bak", "ann.pub.orig", "fleet.OLD", "fleet.keys.rej", "fleet.save", "#fleet.keys#",
            "fleet.keys.~1~", "fleet.swp", "fleet.swo", "fleet.new", "fleet.tmp", "fleet.dpkg-old", "fleet.ucf-dist",
            "fleet.rpmsave", "fleet.keys.1", "ann.pub_2025", "ann.pub copy", "fleet.20261122", "fleet-2026-11-22", "fleet~",
        )),
        *((name, True) for name in (
            "fleet", "ann.txt", "ann.smith.keys", "192.0.2.7", "web-1.example.com", "web.public", "old", "bak", "new.keys",
            "web-20261122", "web-1.pub", "db.1",
        )),
    ],
)  # fmt: skip
def test_a_key_that_is_taken_out_of_its_file_is_not_let_in_by_a_copy(
    read: Callable[..., AuthorizedKeys], key: Path, folder: Path, reports: Reports, name: str, counts: bool
) -> None:
    """`sed -i.bak` leaves one in the folder."""
    (folder / name).write_text(public(key))
    assert knows(read(folder), key) == counts
    told = [(fields["path"], fields["why"]) for event, fields in reports if event == "keys.unclear"]
    why = "it is called as a copy of another file, so no key in it counts: delete it, or give it another name"
    assert told == ([] if counts else [(str(folder / name), why)])
    assert knows(read(folder / name), key), "a file that access.keys names itself counts"


def test_a_file_that_vanishes_during_the_listing_is_no_error(
    read: Callable[..., AuthorizedKeys], tmp_path: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def and_one_more(folder: Path) -> Iterator[Path]:
        return iter([*listed(folder), folder / "gone"])

    monkeypatch.setattr(Path, "iterdir", and_one_more)
    (tmp_path / "keys").mkdir()
    read(tmp_path / "keys")
    assert loaded(reports) == 0
    assert [event for event, _ in reports] == ["keys.loaded"]


def test_a_named_path_that_is_no_file_is_reported(
    read: Callable[..., AuthorizedKeys], tmp_path: Path, reports: Reports
) -> None:
    os.mkfifo(tmp_path / "pipe")
    read(tmp_path / "pipe")
    assert loaded(reports) == 0
    assert [(event, fields["path"]) for event, fields in reports[:-1]] == [("keys.rejected", str(tmp_path / "pipe"))]


@pytest.mark.parametrize("name", [".hidden", "alice~"])
def test_a_named_key_file_counts_with_any_name(
    read: Callable[..., AuthorizedKeys], key: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(public(key))
    assert knows(read(tmp_path / name), key)


@pytest.mark.parametrize("separator", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_key_disabled_by_a_comment_stays_disabled(
    read: Callable[..., AuthorizedKeys], key: Path, tmp_path: Path, separator: str
) -> None:
    """Lines end as they do for sshd: what follows another separator in a comment is part of it."""
    (tmp_path / "keys").write_text(f"# gone since May{separator}{public(key)}", "utf-8", newline="")
    assert not knows(read(tmp_path / "keys"), key)


def test_files_are_read_again_only_after_a_change(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path, reports: Reports
) -> None:
    one, two = new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(public(one))
    keys = read(file)
    for _ in range(3):
        refresh(keys)
    assert len(reports) == 1
    before = file.stat()
    file.write_text(public(two))  # the same length
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (False, True)
    file.write_text(public(one) + public(two))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # the same time
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (True, True)
    file.unlink()
    refresh(keys)
    assert (loaded(reports), [event for event, _ in reports[3:]]) == (0, ["keys.rejected", "keys.loaded"])
    assert "No such file" in str(reports[3][1]["error"])


def test_a_line_may_still_stand_while_its_file_or_that_of_its_ca_cannot_be_read(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    plain, listed, cas = tmp_path / "plain", tmp_path / "folder" / "listed", tmp_path / "cas"
    for file in (plain, listed, cas):
        file.write_text(public(new_key()))
    keys = read(plain, tmp_path / "folder", cas=cas)
    of_plain, of_listed = KeyLine(file=str(plain)), KeyLine(file=str(listed))
    certified = KeyLine(file=str(plain), certified=Certified(of_plain, made()))
    lines = (of_plain, of_listed, certified)
    assert [keys.hides(line) for line in lines] == [False, False, False]
    for away, hidden in ((plain, [True, False, True]), (listed, [False] * 3), (cas, [False, False, True])):
        away.rename(tmp_path / "away")
        refresh(keys)
        assert [keys.hides(line) for line in lines] == hidden, away  # what leaves a folder is taken out of it
        (tmp_path / "away").rename(away)
        refresh(keys)
    (tmp_path / "folder").rename(tmp_path / "away")
    refresh(keys)
    assert [keys.hides(line) for line in lines] == [False, True, False]
    assert "folder: it cannot be read" in keys.problem


def test_an_unchanged_file_is_not_read_again_and_a_changed_file_once(
    read: Callable[..., AuthorizedKeys], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files may be large, and a look comes every half second."""
    file, readings, opened = tmp_path / "keys", 0, os.open

    def counted(path: Path, flags: int, mode: int) -> int:
        nonlocal readings
        readings += 1
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", counted)
    file.write_text("")
    keys = read(file)
    assert readings == 1
    for _ in range(access.KEYS_LOOKS_MORE):
        refresh(keys)
    before = readings
    refresh(keys)
    assert (readings, keys.read()) == (before, None)


def test_a_file_that_is_too_large_or_cannot_be_read_grants_nothing(
    read: Callable[..., AuthorizedKeys],
    new_key: Callable[[], Path],
    folder: Path,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = new_key(), new_key()
    (folder / "one").write_text(public(one))
    (folder / "two").write_text(public(two) + "#" * KEY_FILE_BYTES)
    keys = read(folder)
    assert (knows(keys, one), knows(keys, two)) == (True, False)
    opened = os.open

    def unreadable(path: Path, flags: int, mode: int) -> int:
        if path.name == "one":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", unreadable)  # root may read everything
    os.utime(folder / "one", (1, 1))
    refresh(keys)
    assert not knows(keys, one)
    rejected = [fields for event, fields in reports if event == "keys.rejected"]
    assert {"path": str(folder / "one"), "line": 0, "error": not_read("Permission denied")} in rejected
    assert rejected[0]["path"] == str(folder / "two")
    assert str(rejected[0]["error"]).endswith(
        "it has more than 4 MiB, the most of a file of keys, so none of its keys counts: spread them over the files of a "
        "folder"
    )


def test_the_names_of_a_file_that_cannot_be_read_stay(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], folder: Path
) -> None:
    """So nobody takes one meanwhile. They go with the file."""
    file, other = folder / "web-1.pub", folder / "web-2.pub"
    file.write_text(public(new_key()))
    other.write_text("#disabled " + public(new_key()))
    keys = read(folder)
    assert [keys.place_of(name) for name in ("web-1", "web-2", "web-3")] == [
        f"{file}, line 1", f"{other}, line 1", None,
    ]  # fmt: skip
    file.write_text("#" * (KEY_FILE_BYTES + 1))
    refresh(keys)
    assert (keys.problem != "", keys.place_of("web-1")) == (True, f"{file}, line 1")
    file.unlink()
    refresh(keys)
    assert (keys.problem, keys.place_of("web-1"), keys.place_of("web-2")) == ("", None, f"{other}, line 1")


def test_a_missing_or_unreadable_path_stops_the_start(
    read: Callable[..., AuthorizedKeys], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StartupError, match="does not exist: make the file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "keys").write_text("")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StartupError, match=r"this user cannot read .*: chmod or chown it"):
        read(tmp_path / "keys")
    with pytest.raises(StartupError, match=r"File name too long.*correct the path"):
        read(tmp_path / ("k" * 300))


def test_a_file_that_replaces_another_is_noticed_with_any_length_and_time(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path
) -> None:
    """As package managers and `cp -p` leave them: every file has the same time, and a link leads to another."""
    one, two = new_key(), new_key()
    file, other = tmp_path / "keys", tmp_path / "other"
    for path, key in ((file, one), (other, two)):
        path.write_text(public(key))
        os.utime(path, (1, 1))
    keys = read(file)
    for _ in range(access.KEYS_LOOKS_MORE):
        refresh(keys)
    other.rename(file)
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (False, True)


def test_a_file_written_again_within_one_tick_of_the_file_systems_clock_is_noticed(
    read: Callable[..., AuthorizedKeys],
    new_key: Callable[[], Path],
    tmp_path: Path,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tick has 4 ms, or 2 s (FAT): the same length and the same times, and another key."""
    whole = Path.stat

    def within_a_tick(path: Path, **options: bool) -> SimpleNamespace:
        status = whole(path, **options)
        fields = {field: getattr(status, field) for field in dir(status) if field.startswith("st_")}
        return SimpleNamespace(**fields | {"st_mtime_ns": 1, "st_ctime_ns": 1})

    monkeypatch.setattr(Path, "stat", within_a_tick)
    one, two = new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(public(one))
    keys = read(file)
    file.write_text(public(two))
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (False, True)
    for _ in range(10):
        refresh(keys)
    assert len(reports) == 2


def test_a_file_truncated_and_written_during_a_read_never_counts_as_empty(
    read: Callable[..., AuthorizedKeys], new_key: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stays in it would be refused until the next look."""
    one, two = new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(public(one))
    keys = read(file)
    whole, text = read_regular, public(one) + public(two)

    def in_the_middle(path: Path, most: int) -> bytes:
        seen = whole(path, most)
        path.write_text(text)
        monkeypatch.setattr("ferry.ssh.access_lines.read_regular", whole)
        return seen

    monkeypatch.setattr("ferry.ssh.access_lines.read_regular", in_the_middle)
    file.write_text("")
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (True, True)


def test_a_file_that_becomes_unreadable_grants_nothing_and_is_reported(
    read: Callable[..., AuthorizedKeys],
    new_key: Callable[[], Path],
    folder: Path,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that was taken away, but whoever put it there does not know."""
    one, two = new_key(), new_key()
    for key, name in ((one, "one"), (two, "two")):
        (folder / name).write_text(public(key))
    keys = read(folder)
    whole = Path.stat

    def stale(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "one":
            raise OSError(116, "Stale file handle")
        return whole(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stale)
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (False, True)
    rejected = [fields for event, fields in reports if event == "keys.rejected"]
    assert rejected == [{"path": str(folder / "one"), "line": 0, "error": not_read("Stale file handle")}]


def test_a_folder_that_cannot_be_listed_any_more_grants_nothing(
    read: Callable[..., AuthorizedKeys],
    new_key: Callable[[], Path],
    folder: Path,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its rights were changed, or a network file system is away. It ended the reading of all files for ever."""
    one, two = new_key(), new_key()
    (folder / "one").write_text(public(one))
    folder.with_name("two").write_text(public(two))
    keys = read(folder, folder.with_name("two"))
    assert (knows(keys, one), knows(keys, two)) == (True, True)

    def stale(_path: Path) -> Iterator[Path]:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", stale)  # root may list everything
        for _ in range(3):
            refresh(keys)
        assert (knows(keys, one), knows(keys, two)) == (False, True)
        rejected = [fields for event, fields in reports if event == "keys.rejected"]
        assert rejected == [{"path": str(folder), "line": 0, "error": not_read("Stale file handle")}]
    refresh(keys)
    assert (knows(keys, one), knows(keys, two)) == (True, True)
