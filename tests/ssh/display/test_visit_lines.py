"""Lines about visits, in pipes and in columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.kinds.web import HTTP
from ferry.names import Address, Endpoint, TunnelId
from ferry.ssh.display.terminal import Terminal, Tone
from ferry.ssh.display.visit_lines import VisitColumns, visit_line
from ferry.visits import Visit

BLOG = HTTP.address("blog.example.com")
REQUEST = Visit(
    TunnelId("t"), str(BLOG), "http", Endpoint("192.0.2.7", 4711), "GET", "/", 200, 0.0123, 0, 15
)  # fmt: skip
PORT = REQUEST._replace(kind="tcp", address="port 30001", method="", target="port 30001", status=0, up=13, down=4_200)
NOON = 1_700_000_000.0
PLAIN = Terminal("dumb", 80)
XTERM = Terminal("xterm", 80)
IPV6 = "2001:db8:85a3:8d3:1319:8a2e:370:7348"


def columns(
    visit: Visit = REQUEST,
    *,
    address: Address = BLOG,
    terminal: Terminal = PLAIN,
    several: bool = False,
    lasting: bool = False,
    whole: bool = False,
) -> list[str]:
    """The lines of the first visit of a session."""
    made = VisitColumns(whole_query=whole)
    return made.lines(address, visit, terminal, now=NOON, several=several, lasting=lasting)


# --- in a pipe


def test_a_line_in_a_pipe_has_the_fields_of_its_kind_and_no_control_characters() -> None:
    long = PORT._replace(peer=Endpoint("2001:db8::1", 4711), seconds=12.4)
    assert visit_line(TCP.address(30001), long) == "port 30001 [2001:db8::1]:4711 12s 13 B in, 4.2 kB out"
    left = REQUEST._replace(target="/\x1b[2J", status=0, note="the visitor left", peer=Endpoint("2001:db8::1", 1))
    assert visit_line(BLOG, left) == r"GET /\x1b[2J - 12ms 2001:db8::1  the visitor left"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/a?token=secret", "/a?token=..."),
        ("/a?q=secret&empty=&page=2", "/a?q=...&empty=&page=..."),
        ("/a?secret", "/a?..."),
        ("/a?secret&b=secret", "/a?...&b=..."),
        ("/a?b=c=secret", "/a?b=..."),
        ("/a?b=/?secret", "/a?b=..."),
        ("/a?", "/a?"),
        ("/a?&&", "/a?&&"),
        ("/a=b", "/a=b"),
        ("*", "*"),
    ],
)
def test_values_in_a_query_are_left_out_unless_they_are_asked_for(target: str, shown: str) -> None:
    visit = REQUEST._replace(target=target)
    assert visit_line(BLOG, visit) == f"GET {shown} 200 12ms 192.0.2.7"
    assert visit_line(BLOG, visit, whole_query=True) == f"GET {target} 200 12ms 192.0.2.7"
    assert shown in columns(visit)[0].split()
    assert target in columns(visit, whole=True)[0].split()


def test_a_long_target_is_cut_before_its_query() -> None:
    visit = REQUEST._replace(target=f"/{'a' * 5000}?{'b=secret&' * 2000}")
    for line in (visit_line(BLOG, visit), *columns(visit)):
        assert len(line) < 3 * 80
        assert "b" not in line


# --- in columns


def test_columns_are_time_status_duration_method_path_and_visitor() -> None:
    assert columns() == [f"22:13:20Z 200  12ms GET  {'/':<44} 192.0.2.7"]
    assert len(columns()[0]) == PLAIN.width


def test_with_several_tunnels_each_line_names_its_own() -> None:
    assert columns(several=True)[0].split()[3] == "blog"
    port = columns(PORT, address=TCP.address(30001), several=True)[0].split()
    assert port == ["22:13:20Z", "-", "12ms", "30001", "13", "B", "in,", "4.2", "kB", "out", "192.0.2.7"]
    alias = PORT._replace(kind="alias", address="laptop:22")
    assert columns(alias, address=ALIAS.address("laptop", 22), several=True)[0].split()[3] == "laptop"


def test_a_visit_that_goes_on_is_open() -> None:
    assert columns(REQUEST._replace(status=101), lasting=True)[0].split()[1:3] == ["101", "open"]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("host", ["192.0.2.7", "192.168.100.200", IPV6])
def test_every_line_fits_the_terminal(width: int, host: str, *, several: bool) -> None:
    terminal = Terminal("dumb", width)
    made = VisitColumns(whole_query=True)
    for target in ("/", "/static/js/" + 30 * "x" + ".js", 500 * "/long", "/?" + 300 * "a=b&", 100 * "\x1b[2J"):
        for method in ("GET", "DELETE", "OPTIONS", 30 * "M"):
            note = "the visitor left before your local service had answered, and more words than fit one line"
            visit = REQUEST._replace(target=target, method=method, peer=Endpoint(host, 1), seconds=1e6, note=note)
            lines = made.lines(BLOG, visit, terminal, now=NOON, several=several)
            assert max(map(len, lines)) <= width - 1
            assert " ".join(line.strip() for line in lines[1:]) == note
            assert "\x1b" not in lines[0]
    usual = REQUEST._replace(target="/" + 200 * "x", peer=Endpoint(host, 1))
    line = columns(usual, terminal=terminal, several=several)[0]
    assert (host in line) is not (host == IPV6 and width == 60)


def test_a_long_path_ends_in_dots() -> None:
    path = columns(REQUEST._replace(target="/" + 100 * "x"), terminal=Terminal("xterm", 60))[0]
    assert f"/{22 * 'x'}… " in path


def test_columns_stand_under_one_another_once_a_longer_text_has_come() -> None:
    made = VisitColumns(whole_query=False)
    visits = [REQUEST, REQUEST._replace(method="OPTIONS", peer=Endpoint("192.168.100.200", 1)), REQUEST]
    first, second, third = (made.lines(BLOG, visit, PLAIN, now=NOON, several=False)[0] for visit in visits)
    assert first.index("192.0.2.7") > third.index("192.0.2.7") == second.index("192.168.100.200")
    assert second.index("/") == third.index("/")


@pytest.mark.parametrize(
    ("status", "note", "tone"),
    [
        (0, "", ""), (200, "", ""), (304, "", ""), (404, "", "33"), (499, "", "33"), (500, "", "31"), (502, "", "31"),
        (200, "broken", "31"), (0, "the visitor left", "31"),
    ],
)  # fmt: skip
def test_errors_have_a_colour(status: int, note: str, tone: str) -> None:
    line = columns(REQUEST._replace(status=status, note=note), terminal=XTERM)[0]
    assert line.startswith("\x1b[2m22:13:20Z\x1b[0m ")
    assert line.endswith("\x1b[2m192.0.2.7\x1b[0m")
    assert (f"\x1b[{tone}m" in line) is bool(tone)
    plain = columns(REQUEST._replace(status=status, note=note))[0]
    assert "\x1b" not in plain


@given(st.text(), st.text(), st.text())
def test_no_text_of_a_visitor_or_a_service_reaches_a_terminal_unescaped(method: str, target: str, note: str) -> None:
    visit = REQUEST._replace(method=method, target=target, note=note)
    for line in [*columns(visit), *columns(visit, whole=True), visit_line(BLOG, visit)]:
        assert line.isprintable()
    painted = "".join(columns(visit, terminal=XTERM))
    for tone in Tone:
        painted = painted.replace(f"\x1b[{tone.value}m", "")
    assert painted.replace("\x1b[0m", "").isprintable()
