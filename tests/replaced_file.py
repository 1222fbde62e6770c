"""Puts another file in the place of one, as editors do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway_process import Gateway


def replace_file(file: Path, text: str) -> None:
    """Whoever reads it finds the earlier text or this one, and never a part."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def replace_policy(gateway: Gateway, file: Path, text: str, outcome: str = "loaded") -> dict[str, Any]:
    """Replace its policy file, and return what it logs of that."""
    seen = gateway.log_lines
    replace_file(file, text)
    return gateway.event(rf'"policy\.{outcome}"', after=seen)


def replace_keys(gateway: Gateway, file: Path, text: str) -> None:
    """Replace one of its key files, and wait until it has read that."""
    seen = gateway.log_lines
    replace_file(file, text)
    gateway.event('"keys.loaded"', after=seen)
