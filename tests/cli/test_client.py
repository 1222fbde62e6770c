"""What a running gateway answers about a key, and what it cannot answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import APIRouter

from console_commands import running
from ferry.cli.client import ApiError, Gateway, rules_for


async def test_a_gateway_that_cannot_tell_the_rules_is_not_taken_for_one_without_them(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(ApiError, match="the database cannot be used at the moment: `ferry status` says why"):
            await asyncio.to_thread(rules_for, Gateway(tmp_path), "SHA256:1", "web-1")


async def test_a_gateway_of_an_earlier_version_has_no_rules_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry.console.app._keys", lambda _state: APIRouter())
    async with running(tmp_path):
        assert await asyncio.to_thread(rules_for, Gateway(tmp_path), "SHA256:1", "web-1") is None
