"""What commands print: colours, errors, and which errors are of the output itself."""

from __future__ import annotations

import errno
import io
import sys

import pytest

from ferry.cli.output import folded, of_stdout, paint, print_error, short_identity, visit_style


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_only_text_with_a_style_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("text", "bold", "red") == "\x1b[1;31mtext\x1b[0m"
    assert (paint("text"), paint("", "red")) == ("text", "")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("web-1 (SHA256:zgxyUnvMDkX0Y7Qm4vJ1)", "web-1"),
        ("SHA256:zgxyUnvMDkX0Y7Qm4vJ1", "SHA256:zgxyUnvMD.."),
        (f"web-1 (certificate, serial 7, CA SHA256:zgxyUnvMD{'a' * 34})", "web-1 (CA zgxyUnvMD)"),
        ("anonymous", "anonymous"),
    ],
)
def test_an_identity_is_shown_by_what_tells_it_apart(text: str, short: str) -> None:
    assert short_identity(text) == short


@pytest.mark.parametrize(
    ("status", "note", "style"),
    [
        (502, "", ("red",)),
        (500, "", ("red",)),
        (0, "it cannot be reached", ("red",)),
        (0, "", ()),
        (404, "", ("yellow",)),
        (499, "the visitor left", ("yellow",)),
        (200, "cut", ()),
    ],
)
def test_the_colour_of_a_visit(status: int, note: str, style: tuple[str, ...]) -> None:
    assert visit_style(status, note) == style


@pytest.mark.parametrize(
    ("stream", "log", "lines"),
    [(io.StringIO, False, 2), (io.StringIO, True, 1), (Terminal, False, 2), (Terminal, True, 2)],
)
def test_an_error_is_broken_into_lines_but_for_a_log_that_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], *, log: bool, lines: int
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("COLUMNS", "60")
    print_error("word " * 15, as_json=False, log=log)
    assert isinstance(sys.stderr, io.StringIO)
    assert len(sys.stderr.getvalue().splitlines()) == lines


@pytest.mark.parametrize(
    ("error", "of_it"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), True),
        (OSError(errno.ENOSPC, "No space left on device", "/var/lib/ferry/ferry.db"), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
    ],
)
def test_errors_of_files_are_none_of_the_output(error: OSError, *, of_it: bool) -> None:
    assert of_stdout(error) is of_it


def test_a_sentence_has_ten_thousand_characters_at_most() -> None:
    """LINT_TEXT_CHARS. It may list the lines of many files."""
    shown = folded("line " * 10_000).replace("\n", " ")
    assert (len(shown), shown[-1]) == (10_000, "…")
