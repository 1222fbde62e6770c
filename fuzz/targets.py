"""All targets by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from . import answers, channels, chunks, files, heads, packets, proxies, typed, visits
from .target import Target

TARGETS: Final[Mapping[str, Target]] = MappingProxyType({
    target.name: target
    for target in (
        channels.TARGET, heads.TARGET, answers.TARGET, chunks.TARGET, typed.FORWARDS, typed.WORDS, typed.FIRST_BYTES,
        typed.KEY_FILES, files.TARGET, proxies.TARGET, packets.TARGET, visits.TARGET,
    )
})  # fmt: skip
