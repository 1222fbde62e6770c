"""One large file down and up through the tunnel by curl, and what the gateway holds afterwards."""

from __future__ import annotations

from pathlib import Path

from bench.processes import BenchError, Program, memory, run
from bench.setting import Setting, Site
from bench.systems import Ferry

from .row import Figure, Row, by_name, by_port, on_new_site

LONGEST_SECONDS = 120.0
TURNS = 2

_FIGURES = (
    Figure("down", "down MB/s", more_is_better=True),
    Figure("down_cpu", "down: CPU s/GB", 2),
    Figure("up", "up MB/s", more_is_better=True),
    Figure("up_cpu", "up: CPU s/GB", 2),
    Figure("pss", "PSS after, MB"),
    Figure("rss", "RSS after, MB"),
    Figure("pss_asked", "PSS after /metrics and status, MB"),
    Figure("rss_asked", "RSS after /metrics and status, MB"),
)


def _measure(setting: Setting, site: Site) -> dict[str, float]:
    size = setting.effort.bulk_bytes
    found = {}
    found["down"], found["down_cpu"] = _transfer(setting, site, ["-o", "/dev/null", f"{site.url}bulk"], size)
    upload: list[str | Path] = ["-T", setting.origin.bulk, "-H", "Expect:", "-o", "/dev/null"]
    found["up"], found["up_cpu"] = _transfer(setting, site, [*upload, f"{site.url}uploads/one"], size)
    setting.origin.forget_uploads()
    if site.gateway:
        found |= _memory(site.gateway, "")
        if isinstance(site.system, Ferry) and site.place is not None:
            site.system.ask(site.place)
            found |= _memory(site.gateway, "_asked")
    else:
        del found["down_cpu"], found["up_cpu"]
    return found


def _memory(gateway: Program, when: str) -> dict[str, float]:
    now = memory(gateway.pid)
    return {f"pss{when}": now.pss / 1e6, f"rss{when}": now.rss / 1e6}


def _transfer(setting: Setting, site: Site, what: list[str | Path], size: int) -> tuple[float, float]:
    """MB/s, and the gateway's CPU seconds for 10^9 bytes."""
    before = site.cpu()
    command: list[str | Path] = ["curl", "-sS", "--fail", "-H", f"Host: {site.host}"]
    shown = "%{http_code} %{size_download} %{size_upload} %{time_total}"
    out = run([*command, "-w", shown, *what], setting.folder, seconds=LONGEST_SECONDS)
    code, down, up, seconds = out.split()
    if not code.startswith("2") or max(int(down), int(up)) != size:
        raise BenchError(f"curl moved {down} bytes down and {up} up of {size}, status {code}")
    return size / 1e6 / float(seconds), (site.cpu() - before) * 1e9 / size


def row(name: str, title: str, *, tcp: bool) -> Row:
    concerns = by_port if tcp else by_name
    return Row(name, title, _FIGURES, concerns, on_new_site(_measure), turn=_measure, turns=TURNS)


ROW = row("bulk", "HTTP: one large file by curl", tcp=False)
TCP_ROW = row("tcp-bulk", "TCP port, aes128-gcm: one large file by curl", tcp=True)
