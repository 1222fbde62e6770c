"""The answers to refused forwards are held until the person can read the reasons. Without a connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ferry.ssh.reasons import Reasons, disconnect_text
from ferry.ssh.refusals import RefusedForward
from hurried_loop import hurried
from keepalives import Keepalives
from turns import timers, turns

REASON_SECONDS, READ_SECONDS, REASON_BYTES = 0.5, 0.15, 400
OPENSSH = "OpenSSH_9.2p1 Debian-2+deb12u3"


RELEASED = ["released", "sessions told"]


def refused(name: str = "admin", why: str = "the operator has reserved it") -> RefusedForward:
    return RefusedForward(f"-R {name}:80", why, "reserved_name", 0.0)


class Line:
    """A connection of `Reasons`. It answers a keepalive when the test says so."""

    def __init__(self, version: str = OPENSSH, *, may_end: bool = True) -> None:
        self.keepalives = Keepalives()
        self.ping = self.keepalives.ping
        self.said: list[str] = []
        self.undecided = 0
        self.watched = False
        """A session is open."""
        self.reasons = Reasons(
            self,
            version,
            end=self.said.append,
            may_end=lambda: may_end,
            all_decided=lambda: not self.undecided,
            watched=lambda: self.watched,
            released=lambda: self.said.append("sessions told"),
        )

    def hold(self, refused: RefusedForward, *, early: bool = True) -> bool:
        return self.reasons.hold(refused, early=early)

    def release_answers(self) -> None:
        self.said.append("released")

    async def answer(self) -> None:
        self.keepalives.answer()
        await turns()


async def test_without_a_session_the_connection_ends_with_all_reasons() -> None:
    line = Line()
    assert line.hold(refused("admin"))
    assert line.hold(refused("www"))
    await line.answer()
    assert line.said == [
        "Refused -R admin:80: the operator has reserved it; Refused -R www:80: the operator has reserved it"
    ]
    assert len(line.keepalives.sent) == 1


async def test_it_ends_once_the_last_request_is_decided() -> None:
    line = Line()
    line.undecided = 1
    assert line.hold(refused())
    await line.answer()
    assert line.said == []
    line.reasons.decided()
    assert line.said == ["Refused -R admin:80: the operator has reserved it"]


USES: dict[str, Callable[[Reasons], None]] = {
    "a forward or a channel": Reasons.used,
    "a session": Reasons.session_opened,
}


@pytest.mark.parametrize("use", USES)
@hurried
async def test_a_connection_that_was_used_does_not_end(use: str) -> None:
    line = Line()
    USES[use](line.reasons)
    assert line.hold(refused())
    await line.answer()
    await timers(REASON_SECONDS)
    assert line.said == RELEASED


async def test_the_operator_may_forbid_the_end() -> None:
    line = Line(may_end=False)
    assert line.hold(refused())
    await line.answer()
    assert line.said == RELEASED


@hurried
async def test_after_a_session_has_written_the_reasons_the_answers_follow() -> None:
    line = Line()
    assert line.hold(refused())
    line.reasons.session_opened()
    await line.answer()
    assert line.said == []
    line.reasons.shown()
    assert line.said == []
    await timers(READ_SECONDS)
    assert line.said == RELEASED
    assert not line.hold(refused())


@hurried
async def test_answers_to_later_refusals_wait_until_open_sessions_have_written_the_reasons() -> None:
    """`ssh -O forward`: ssh writes its own line when it gets the answer, behind a live line that is still there."""
    line = Line()
    assert not line.hold(refused(), early=False)
    line.watched = True
    assert line.hold(refused(), early=False)
    assert line.reasons.held
    assert line.hold(refused("www"), early=False)
    assert line.keepalives.sent == []
    await timers(READ_SECONDS)
    assert line.said == RELEASED
    assert not line.reasons.held
    assert line.hold(refused())
    await timers(READ_SECONDS)
    assert line.said == RELEASED * 2


@hurried
async def test_without_a_word_from_the_client_the_answers_follow_all_the_same() -> None:
    line = Line()
    assert line.hold(refused())
    await timers(REASON_SECONDS)
    assert line.said == RELEASED
    await line.answer()
    assert line.said == RELEASED


@hurried
async def test_a_connection_whose_answers_are_out_does_not_end_at_the_last_decision() -> None:
    line = Line()
    line.undecided = 1
    assert line.hold(refused())
    await line.answer()
    await timers(REASON_SECONDS)
    line.undecided = 0
    line.reasons.decided()
    assert line.said == RELEASED


async def test_after_a_session_that_had_none_to_write_answers_are_not_held() -> None:
    line = Line()
    line.reasons.session_opened()
    line.reasons.shown()
    assert not line.hold(refused())


@pytest.mark.parametrize("version", ["AsyncSSH_2.18.0", "paramiko_3.5.0", "Go", "libssh2_1.10.0", ""])
async def test_a_library_gets_its_answer_at_once(version: str) -> None:
    assert not Line(version).hold(refused())


@pytest.mark.parametrize("version", [OPENSSH, "PuTTY_Release_0.78", "dropbear_2022.83"])
async def test_programs_whose_sessions_print_the_reason(version: str) -> None:
    assert Line(version).hold(refused())


async def test_a_program_that_does_not_print_why_it_is_disconnected_gets_its_answers() -> None:
    line = Line("dropbear_2022.83")
    assert line.hold(refused())
    await line.answer()
    assert line.said == RELEASED


@hurried
async def test_nothing_follows_the_end_of_the_connection() -> None:
    line = Line()
    assert line.hold(refused())
    line.reasons.close()
    await line.answer()
    await timers(REASON_SECONDS)
    assert line.said == []


def test_the_text_has_no_more_bytes_than_ssh_prints() -> None:
    text = disconnect_text([refused(f"name-{number}", "é" * 60) for number in range(5)])
    assert text.endswith(" (and 3 more: ssh -v shows them)")
    assert len(text.encode()) <= REASON_BYTES
    assert len(disconnect_text([refused("x", "é" * 400)]).encode()) <= REASON_BYTES


def test_a_reason_that_passes_by_itself_has_a_time() -> None:
    passes = RefusedForward("-R blog:80", "the gateway's disk is full", "store", 0.0, 60)
    assert disconnect_text([passes, refused()]).endswith("it; retry-after=60")
