"""docs/reference/session.md says what sessions print."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "session.md").read_text("utf-8")
FLAT = PAGE.replace("`", "").replace("\n", " ")
TWO_PORTS = "-R 0:... -R 0:..."
SOURCES = {
    name: (ROOT / "src" / "ferry" / name).read_text("utf-8")
    for name in (
        *(
            "ssh/claims.py",
            "ssh/client.py",
            "ssh/commands.py",
            "ssh/forward_decisions.py",
            "ssh/server.py",
            "ssh/notices.py",
            "ssh/session.py",
            "ssh/tunnels.py",
            "ssh/display/figures.py",
            "ssh/display/json_lines.py",
            "ssh/display/live.py",
            "ssh/display/text.py",
        ),
        *("policy/forwards.py", "protocol/words.py", "kinds/web.py", "kinds/port.py", "kinds/alias.py"),
    )
}


def test_every_event_of_the_json_is_named() -> None:
    events = {event for text in SOURCES.values() for event in re.findall(r'"?event"?[=:] ?"([a-z_]+)"', text)}
    assert len(events) > 12
    assert {event for event in events if f"`{event}`" not in PAGE} == set()


def test_every_line_is_shown() -> None:
    """Sentences written in the code, up to the first value in them: each is on the page."""
    said = r'(?:\.say\(|\.tell\(|lines\.append\(|Refusal\(|public = |return )\s*f?"(?:\{[^}]*\})?([^"{]{12,})'
    lines = {line for text in SOURCES.values() for line in re.findall(said, text)}
    assert len(lines) > 20
    missing = {line for line in lines if line.replace("`", "").strip().rstrip(" :") not in FLAT}
    assert missing - {"the connection closed meanwhile", TWO_PORTS} == set()  # nobody is there to read the former
