"""What a session shows in a terminal: colours, columns, keys, and a live last line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import String, UInt32

from ferry.clock import SystemClock
from ferry.names import Endpoint
from hurried_loop import LoopsClock, hurried
from raw_session import Session
from session_stage import Stage, lines, pty_request, staged
from tiny_screen import ANSWER, TinyScreen
from turns import timers, until

KEYS = "? help  c clear  s statistics  r QR code  p pause  q quit"
PLAIN_KEYS = b"? help  s statistics  r QR code  p pause  q quit"
DUMB, XTERM = pty_request("dumb"), pty_request()
FORWARDING = "Forwarding HTTP traffic from http://blog.localhost:8080"
FORWARDS_STAY = "The forwards stay up: this connection is shared. To end it:"
LIVE_LINE_SECONDS = 0.25
TARGET_QUIET_SECONDS = 10.0
LASTING_REMEMBERED = 1024
SESSION_BACKLOG_BYTES = 256 * 1024
KEYS_PER_SECOND = 10  # of all sessions of a connection


@pytest.fixture
async def stage(key: Path) -> AsyncIterator[Stage]:
    async with staged(key) as made:
        yield made


class Watched:
    """A session on a terminal, as its person sees it."""

    def __init__(self, session: Session, columns: int = 80) -> None:
        self.session = session
        self.screen = TinyScreen(columns)

    def look(self) -> list[str]:
        """The lines on the screen now."""
        said, self.session.said = self.session.said, b""
        self.screen.feed(said)
        return self.screen.lines

    async def shows(self, pattern: str) -> str:
        """Wait for a line with `pattern`; return it."""
        await until(lambda: any(re.search(pattern, line) for line in self.look()))
        return next(line for line in self.screen.lines if re.search(pattern, line))

    def type(self, keys: bytes) -> None:
        self.session.send(MSG_CHANNEL_DATA, String(keys))


async def watched(stage: Stage, words: bytes = b"") -> Watched:
    """A session of `xterm` that shows its live line."""
    made = Watched(await stage.session(words, terminal=XTERM))
    await until(lambda: made.look() and made.screen.asked)
    made.type(ANSWER)
    await made.shows("visitors now")
    return made


# --- terminals without escape sequences


@pytest.mark.parametrize(
    ("terminal", "words"),
    [(True, b""), (DUMB, b""), (pty_request(columns=0), b""), (XTERM, b"color=never"), (XTERM, b"--color never")],
    ids=["unknown", "dumb", "a script's", "color=never", "--color never"],
)
async def test_a_terminal_that_takes_no_escape_sequences_gets_none(
    stage: Stage, terminal: tuple[bytes, ...] | bool, words: bytes
) -> None:
    session = await stage.session(words, terminal=terminal)
    shown = lines(session)
    assert shown[0] == FORWARDING.encode()
    assert shown[-1] == PLAIN_KEYS
    await stage.visit(404, "an error")
    await stage.inside.tick()
    row, note = lines(session)
    assert re.fullmatch(rb"\d\d:\d\d:\d\dZ 404   5ms GET  /x {43}192\.0\.2\.7", row)
    assert note == b"          an error"
    for key in (ANSWER, b"?", b"c", b"s", b"p", b"p"):
        session.send(MSG_CHANNEL_DATA, String(key))
    await stage.settle()
    assert len(lines(session)) == 8 + 3 + 2
    assert b"\x1b" not in session.said


async def test_no_color_in_the_environment_counts_if_it_has_a_value(stage: Stage) -> None:
    for value, shown in ((b"1", False), (b"", True)):
        session = await stage.session(None, terminal=XTERM)
        assert await session.ask(b"env", String(b"NO_COLOR"), String(value)) is not shown
        assert await session.ask(b"shell")
        await stage.settle()
        assert (b"\x1b" in session.said) is shown
    before = await stage.session(None)
    assert await before.ask(b"env", String(b"NO_COLOR"), String(b"1"))
    assert await before.ask(b"pty-req", *XTERM)
    assert await before.ask(b"shell")
    await stage.settle()
    assert b"\x1b" not in before.said


async def test_lines_end_in_cr_and_lf_in_every_terminal_also_before_the_words(stage: Stage) -> None:
    mute = await stage.session(None, terminal=XTERM)
    stage.inside.clients[0].tell("a line for all")
    await stage.settle()
    assert mute.said == b"a line for all\r\n"


async def test_a_terminal_that_does_not_answer_may_be_a_pipe_and_gets_plain_text(stage: Stage) -> None:
    """`ssh … gw > log`: ssh requests a terminal, because its input is one."""
    session = await stage.session(terminal=XTERM)
    shown = session.said.splitlines()
    assert shown[0] == FORWARDING.encode()
    assert shown[-2:] == [PLAIN_KEYS, b"\x1b[c"]
    await stage.visit(404)
    await stage.inside.tick()
    session.send(MSG_CHANNEL_DATA, String(b"s"))
    await until(lambda: b"answers: 4xx 1" in session.said)
    assert session.said.count(b"\x1b") == 1
    session.send(MSG_CHANNEL_DATA, String(ANSWER))  # it was slow: its first lines are too far away now
    await until(lambda: b"visitors now   1 request" in session.said)
    assert session.said.count(b"Forwarding HTTP traffic from http:") == 1


async def test_first_lines_with_a_refusal_are_not_written_again(stage: Stage) -> None:
    """Ssh writes a line of its own about it, so nobody knows how far up the first one is."""
    assert not await stage.client.forward(b"no_name", 80)
    session = await stage.session(terminal=XTERM)
    session.send(MSG_CHANNEL_DATA, String(ANSWER))
    await until(lambda: b"visitors now" in session.said)
    assert session.said.count(b"Forwarding HTTP traffic from http:") == 1
    assert session.complained.startswith(b"Refused -R no_name:80: ")


async def test_a_terminal_that_answers_when_its_session_is_about_to_end_gets_no_live_line(key: Path) -> None:
    """Nothing would erase it, nor restore the window's title."""
    async with staged(key) as stage:
        session = await stage.session(terminal=XTERM)
        for shown in stage.inside.clients[0].sessions:
            shown.freeze()
        session.send(MSG_CHANNEL_DATA, String(ANSWER))
        await stage.settle()
        await stage.inside.tick()
        await stage.settle()
        assert session.said.count(b"\x1b") == 1  # the question


async def test_its_answer_is_of_use_once(stage: Stage) -> None:
    made = await watched(stage)
    before = list(made.screen.lines)
    made.type(ANSWER * 3)
    made.type(ANSWER)
    await stage.settle()
    assert made.session.said == b""
    assert made.look() == before


# --- colours, links, the title


async def test_a_terminal_has_colours_links_and_a_title(stage: Stage) -> None:
    made = await watched(stage)
    assert made.screen.lines == [
        FORWARDING,
        FORWARDING.replace("http:", "https:").replace("8080", "8443"),
        "  https uses this gateway's own CA: `ferry ca` there says how to trust it",
        KEYS,
        "0 visitors now   0 requests   0 B  ",
    ]
    assert made.screen.tones[:8] == ["32", "0", "32", "0", "2", "0", "2", "0"]
    assert made.screen.links == ["http://blog.localhost:8080", "https://blog.localhost:8443"]
    assert made.screen.title == "blog.localhost: 0 visitors"
    await stage.visit()
    await made.shows("1 request   0 B   p50 5ms")
    assert not await stage.client.forward(b"no_name", 80)
    await made.shows("^Refused -R no_name:80: ")
    await made.shows("1 request   0 B   p50 5ms")
    assert made.session.complained == b""  # ssh would write it beside the live line
    assert await stage.client.forward(b"shop", 80)
    await stage.inside.tick()
    await until(lambda: made.look() and made.screen.title == "blog.localhost +1: 0 visitors")


async def test_the_session_of_a_command_has_no_live_line(stage: Stage) -> None:
    session = await stage.session(b"ls", terminal=XTERM)
    assert await session.ended() == 0
    assert re.fullmatch(rb"http://blog.localhost:8080 +0 requests, 0 B in, 0 B out\r\n", session.said)


async def test_a_visit_that_lasts_has_a_line_at_its_beginning_and_one_at_its_end(stage: Stage) -> None:
    made = await watched(stage)
    socket = stage.served(101, target="/ws")
    stage.inside.tunnels[0].long_visit_began(socket)
    assert "101  open GET  /ws" in await made.shows("open")
    stage.inside.tunnels[0].visited(socket._replace(seconds=62.5))
    assert "101   62s GET  /ws" in await made.shows("62s")
    await made.shows("0 requests   0 B  $")  # a time that says nothing about the service


async def test_of_the_visits_that_last_so_many_are_remembered(stage: Stage) -> None:
    """LASTING_REMEMBERED. At its end the oldest counts as one that did not last, with its time."""
    made = await watched(stage)
    stage.inside.change(request_log=False)
    tunnel = stage.inside.tunnels[0]
    sockets = [stage.served(101)._replace(peer=Endpoint("192.0.2.7", port)) for port in range(LASTING_REMEMBERED + 1)]
    for socket in sockets:
        tunnel.long_visit_began(socket)
    for ended, shows in ((sockets[1], "1 request   0 B  $"), (sockets[0], "2 requests   0 B   p50 5ms")):
        tunnel.traffic.visits += 1
        tunnel.visited(ended)
        await made.shows(shows)


async def test_queries_are_shown_whole_if_they_are_asked_for(stage: Stage) -> None:
    for words, shown in ((b"", b"/x?token=..."), (b"query=full", b"/x?token=secret")):
        for terminal in (False, DUMB):
            session = await stage.session(words, terminal=terminal)
            lines(session)
            await stage.visit(target="/x?token=secret")
            assert shown in lines(session)[0].split()


async def test_text_from_anywhere_is_escaped(stage: Stage) -> None:
    made = await watched(stage)
    await stage.visit(note="a \x1b[2J\x9b1m note", method="\x1b]0;", target="/\x07\u202e\r\n?\x1b=\x1b")
    await made.shows(r"a \\x1b\[2J\\x9b1m note")
    stage.inside.clients[0].tell("a line \x1b[2J\u202e of any kind")
    await made.shows(r"a line \\x1b\[2J\\u202e of any kind")


# --- keys


async def test_help_says_what_each_key_does(stage: Stage) -> None:
    made = await watched(stage)
    made.type(b"?")
    await made.shows("^add query=full")
    first = made.screen.lines.index("? this help")
    assert [line[0] for line in made.screen.lines[first : first + 6]] == list("?csrpq")


async def test_clear_leaves_the_addresses(stage: Stage) -> None:
    made = await watched(stage)
    await stage.visit()
    await made.shows("/x")
    made.type(b"c")
    await until(lambda: not any("/x" in line for line in made.look()))
    await made.shows("visitors now")
    assert made.screen.lines[0] == FORWARDING
    assert len(made.screen.lines) == 4


async def test_a_terminal_that_does_not_read_is_not_cleared(stage: Stage) -> None:
    """Each clearing would wait for it."""
    session = await stage.session(terminal=XTERM, window=0)
    session.send(MSG_CHANNEL_DATA, String(ANSWER))
    await stage.settle()
    for _ in range(SESSION_BACKLOG_BYTES // 60):
        stage.inside.tunnels[0].visited(stage.served())
    session.send(MSG_CHANNEL_DATA, String(b"c"))
    await stage.settle()
    session.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**30))
    await until(lambda: len(session.said) > SESSION_BACKLOG_BYTES)
    await stage.settle()
    assert b"\x1b[2J" not in session.said


async def test_statistics(stage: Stage) -> None:
    made = await watched(stage)
    await stage.visit(404)
    made.type(b"s")
    await made.shows("^1 request, 0 B in, 0 B out, 0 visitors now$")
    await made.shows("^answers: 4xx 1$")
    await made.shows(r"^times: p50 5ms, p90 5ms, p99 5ms \(the last 1 request\)$")
    assert await stage.client.forward(b"shopping", 80)
    made.type(b"s")
    await made.shows("^blog      1 request, 0 B in, 0 B out$")
    await made.shows("^shopping  0 requests, 0 B in, 0 B out$")


async def test_pause_hides_visits_and_counts_them(stage: Stage) -> None:
    made = await watched(stage)
    made.type(b"p")
    await made.shows("^paused: p goes on$")
    await made.shows("^paused: 0 requests not shown")
    for _ in range(3):
        await stage.visit()
    stage.inside.tunnels[0].long_visit_began(stage.served(101))  # it counts once, at its end
    await made.shows("^paused: 3 requests not shown")
    assert not any("/x" in line for line in made.screen.lines)
    stage.inside.clients[0].tell("other lines are shown")
    await made.shows("other lines are shown")
    made.type(b"p")
    await made.shows("^3 requests not shown$")
    await stage.visit()
    await made.shows("/x")


async def test_a_qr_code_of_each_web_address_in_turn(stage: Stage) -> None:
    assert await stage.client.forward(b"shop", 80)
    made = await watched(stage)
    for name in ("blog", "shop", "blog"):
        made.type(b"r")
        await made.shows(f"^http://{name}.localhost:8080$")
        code = [line for line in made.screen.lines if set(line) <= set(" ▄▀█") and line]
        assert len(code) > 10
        made.type(b"c")
        await until(lambda: not any("▀" in line for line in made.look()))


async def test_a_qr_code_needs_a_web_address_and_room(stage: Stage) -> None:
    session = await stage.session(terminal=pty_request("xterm", 20))
    session.send(MSG_CHANNEL_DATA, String(b"r"))
    await until(lambda: b"the QR code takes 29 columns: widen the window" in session.said)
    assert await stage.client.cancel(b"blog", 80)
    session.send(MSG_CHANNEL_DATA, String(b"r"))
    await until(lambda: b"no web address is up: a QR code is for one" in session.said)


@pytest.mark.parametrize("typed", [b"q", b"Q", b"\x03", b"\x04"])
async def test_a_key_ends_it_with_0_and_its_forwards_and_leaves_the_terminal_as_it_was(
    stage: Stage, typed: bytes
) -> None:
    made = await watched(stage)
    made.screen.saved[:] = ["before"]
    made.type(typed)
    assert await made.session.ended() == 0
    assert stage.inside.tunnels == []
    assert stage.inside.said("tunnel.closed")[0]["reason"] == "ended from its terminal"
    assert made.look()[-2:] == [KEYS, ""]
    assert (made.screen.title, made.screen.saved) == ("before", [])


async def test_a_key_in_one_of_several_sessions_ends_that_one_and_says_that_the_forwards_stay(stage: Stage) -> None:
    """Of a shared connection (`ControlMaster`)."""
    first, second, third = await watched(stage), await watched(stage), await stage.session(terminal=XTERM)
    second.type(b"?")
    await second.shows("^q quit, as Ctrl-C does: the forwards stay$")
    for session in (second.session, third):
        session.send(MSG_CHANNEL_DATA, String(b"\x03"))
        assert await session.ended() == 0
    assert FORWARDS_STAY in second.look()
    assert len(stage.inside.tunnels) == 1
    await stage.visit()
    await first.shows("/x")
    first.type(b"?")
    await first.shows("^q quit, as Ctrl-C does: the forwards close$")
    first.type(b"q")
    assert await first.session.ended() == 0
    assert stage.inside.tunnels == []


async def test_without_forwards_a_key_in_one_of_several_sessions_says_nothing_of_any(stage: Stage) -> None:
    _, second = await watched(stage), await watched(stage)
    assert await stage.client.cancel(b"blog", 80)
    second.type(b"q")
    assert await second.session.ended() == 0
    assert FORWARDS_STAY not in second.look()


async def test_the_session_that_made_a_shared_connection_ends_its_forwards_once_the_others_have_closed(
    stage: Stage,
) -> None:
    first, other = await watched(stage), await stage.session(terminal=DUMB)
    first.type(b"q")
    assert await first.session.ended() == 0
    assert FORWARDS_STAY in first.look()
    first.session.send(MSG_CHANNEL_CLOSE)
    await stage.settle()
    assert len(stage.inside.tunnels) == 1
    other.send(MSG_CHANNEL_DATA, String(b"q"))
    assert await other.ended() == 0
    other.send(MSG_CHANNEL_CLOSE)
    await until(lambda: stage.inside.tunnels == [])


async def test_a_key_ends_a_command_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ssh -t gw names`, over a shared connection."""
    waits = asyncio.Event()

    async def none_yet(_owner: object) -> list[object]:
        await waits.wait()
        return []

    first = await stage.session(terminal=XTERM)
    monkeypatch.setattr(stage.inside.registry, "reservations", none_yet)
    command = await stage.session(b"names", terminal=XTERM)
    command.send(MSG_CHANNEL_DATA, String(b"\x03"))
    assert await command.ended() == 0
    waits.set()
    await stage.settle()
    assert len(stage.inside.tunnels) == 1
    assert not first.status.done()


async def test_with_json_keys_end_a_session_and_show_little(stage: Stage) -> None:
    session = await stage.session(b"--output json", terminal=XTERM)
    lines(session)
    for key in (b"c", b"s", b"p", b"r", b"?"):
        session.send(MSG_CHANNEL_DATA, String(key))
    await stage.settle()
    assert lines(session) == [b'{"event": "message", "message": "keys: q or Ctrl-C ends, ? shows this"}']
    session.send(MSG_CHANNEL_DATA, String(b"q"))
    assert await session.ended() == 0


# --- the live line's bounds


@hurried
async def test_the_live_line_is_written_at_most_four_times_a_second(key: Path) -> None:
    """LIVE_LINE_SECONDS."""
    async with staged(key, LoopsClock()) as stage:
        made = await watched(stage)
        clock, tunnel = stage.inside.clock, stage.inside.tunnels[0]
        stage.inside.change(request_log=False)
        began, written = clock.monotonic(), 0
        for _ in range(40):
            tunnel.traffic.visits += 1
            tunnel.visited(stage.served())
            await stage.inside.tick()
            await timers(0.05)
            await stage.settle()
            written += made.session.said.count(b"visitors now")
            made.look()
        assert 4 <= written <= (clock.monotonic() - began) / LIVE_LINE_SECONDS + 1


@hurried
async def test_there_is_no_live_line_while_a_local_service_cannot_be_reached(key: Path) -> None:
    """Ssh writes `connect_to … failed.` at each visit, which stood behind the live line: TARGET_QUIET_SECONDS."""
    async with staged(key, LoopsClock()) as stage:
        made = await watched(stage)
        client, tunnel = stage.inside.clients[0], stage.inside.tunnels[0]
        for seconds in (0.0, 4.0):
            await timers(seconds)
            client.target_refused(tunnel.address, "cannot be reached")
            await stage.visit(502)
            await made.shows(" 502 ")
        for _ in range(18):
            await timers(0.5)
            await stage.inside.tick()
        await stage.settle()
        assert not any("visitors now" in line for line in made.look())
        await timers(TARGET_QUIET_SECONDS - 18 * 0.5)
        await stage.inside.tick()
        await made.shows("^0 visitors now   2 requests")


@hurried
async def test_a_live_line_that_is_due_is_not_written_either(key: Path) -> None:
    async with staged(key, LoopsClock()) as stage:
        made = await watched(stage)
        client, tunnel = stage.inside.clients[0], stage.inside.tunnels[0]
        await timers(LIVE_LINE_SECONDS)
        await stage.visit()
        await made.shows("1 request")
        await stage.visit()  # LIVE_LINE_SECONDS after the first the line is due again
        client.target_refused(tunnel.address, "cannot be reached")
        await timers(2 * LIVE_LINE_SECONDS)
        await stage.settle()
        assert "/x" in "".join(made.look())
        assert not any("2 requests" in line for line in made.look())


async def test_nothing_is_written_while_nothing_changes(stage: Stage) -> None:
    made = await watched(stage)
    for _ in range(5):
        await stage.inside.tick()
    await stage.settle()
    assert made.session.said == b""


@hurried
async def test_a_terminal_that_does_not_read_has_no_live_line_waiting(key: Path) -> None:
    async with staged(key, LoopsClock()) as stage:
        session = await stage.session(terminal=XTERM, window=0)
        session.send(MSG_CHANNEL_DATA, String(ANSWER))
        for _ in range(5):
            await stage.visit()
            await stage.inside.tick()
            await timers(2 * LIVE_LINE_SECONDS)
        session.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**20))
        await until(lambda: session.said.count(b"/x") == 5)
        assert b"visitors now" not in session.said
        await stage.inside.tick()
        await until(lambda: b"5 requests" in session.said)
        assert session.said.count(b"visitors now") == 1


async def test_the_live_line_follows_the_width_of_the_terminal(stage: Stage) -> None:
    made = await watched(stage)
    await stage.visit(target="/" + "x" * 200)
    assert len(await made.shows("/xxx")) == 79
    for columns in (60, 120):
        made.session.request(b"window-change", UInt32(columns), UInt32(24), bytes(8), reply=False)
        made.screen.columns = columns
        made.type(b"c")
        await until(lambda: not any("/xxx" in line for line in made.look()))
        await stage.visit(target="/" + "x" * 200)
        assert len(await made.shows("/xxx")) == columns - 1
    made.session.request(b"window-change", reply=False)  # without a size
    made.session.request(b"window-change", bytes(16), reply=False)  # nor with one
    await stage.settle()
    await stage.visit(target="/" + "y" * 200)
    assert len(await made.shows("/yyy")) == 119


async def test_a_session_is_told_of_its_end_after_the_live_line_has_gone(stage: Stage) -> None:
    made = await watched(stage)
    stage.inside.clients[0].close("closed by the operator")
    await made.session.ended()
    assert made.look()[-2:] == [KEYS, ""]
    assert made.screen.saved == []


async def test_sentences_are_broken_between_words_and_commands_are_not(stage: Stage) -> None:
    made = await watched(stage)
    sentence = "a sentence of " + "many words " * 12
    command = "  ssh -N -L 5432:pg:5432 " + "gateway" * 12
    for line in (sentence, command):
        stage.inside.clients[0].tell(line)
    await made.shows("^  ssh -N")
    at = made.screen.lines.index("a sentence of many words many words many words many words many words many words")
    assert made.screen.lines[at + 1].startswith("  many words many words")
    assert command in "".join(made.screen.lines)


@pytest.mark.parametrize("columns", [60, 80, 120])
async def test_answers_to_unknown_words_and_of_commands_fit_the_terminal(stage: Stage, key: Path, columns: int) -> None:
    async with stage.inside.client(key) as other:
        asks = Stage(stage.inside, other)
        for words in (b"auth=bob:secret", b"uname -a", b"sftp", b""):
            plain: list[str] = []
            shown: list[str] = []
            for terminal, found in ((False, plain), (pty_request("xterm", columns), shown)):
                session = await asks.session(words, terminal=terminal)
                await session.ended()
                found.extend(session.said.decode().splitlines())
            assert [line for line in shown if len(line) >= columns] == []
            assert " ".join(" ".join(shown).split()) == " ".join(" ".join(plain).split())
            assert len(plain) == 1 or not words
        assert any(line.startswith("To forward: ssh -R 80:localhost:3000 -p 2222 localhost") for line in shown)


class _StoppedClock(SystemClock):
    def monotonic(self) -> float:
        return 1_000.0


async def test_a_flood_of_keys_is_answered_in_part_and_ends_the_session_with_its_last_key(key: Path) -> None:
    """Statistics of many tunnels take 0.5 ms: 256 packets with one key each would stop the gateway for 0.1 s a turn."""
    async with staged(key, _StoppedClock()) as stage:
        first, second = await stage.session(terminal=DUMB), await stage.session(terminal=DUMB)
        flood = (MSG_CHANNEL_DATA, UInt32(first.number) + String(b"s"))
        stage.client.at_once(*[flood] * 300)
        second.send(MSG_CHANNEL_DATA, String(b"s"))
        await stage.settle()
        assert (first.said + second.said).count(b"0 requests, ") == KEYS_PER_SECOND
        first.send(MSG_CHANNEL_DATA, String(b"q"))
        assert await first.ended() == 0
