"""Security keys (FIDO) with stock ssh: a touch is needed, and a check of the person where the key's line asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway_process import Gateway, gateway_in
from security_key import SecurityKey, agent_of

TOUCH = "your security key has signed without a touch, and it needs one here"
VERIFY = "your security key has to check its PIN or your fingerprint for each log-in here (verify-required)"
OPTIONS = ("", "no-touch-required", "verify-required", "no-touch-required,verify-required")


class Bench:
    """A gateway, and a security key for each of OPTIONS."""

    def __init__(self, gateway: Gateway, folder: Path, keys: dict[str, SecurityKey]) -> None:
        self.gateway, self.folder, self.keys = gateway, folder, keys

    def log_in(self, options: str, flags: int) -> tuple[int, str]:
        """The exit code of ssh, and what it says."""
        key = self.keys[options]
        key.flags = flags
        public = self.folder / "key.pub"
        public.write_text(key.line)
        ssh = self.gateway.ssh(self.folder, public)
        with agent_of(key, self.folder / "agent") as agent:
            ended = replace(ssh, agent=agent).run("-o", "BatchMode=yes", words="whoami")
        (self.folder / "agent").unlink()
        return ended.code, ended.err


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("security")
    keys = {options: SecurityKey() for options in OPTIONS}
    file = folder / "keys"
    file.write_text("".join(f"{options} {key.line}\n".lstrip() for options, key in keys.items()))
    with gateway_in(folder, access={"mode": "keys", "keys": [file]}) as gateway:
        yield Bench(gateway, folder, keys)


@pytest.mark.parametrize(
    ("options", "flags", "says"),
    [
        ("", 1, None), ("", 0, TOUCH), ("", 4, TOUCH), ("no-touch-required", 0, None), ("verify-required", 1, VERIFY),
        ("verify-required", 5, None), ("no-touch-required,verify-required", 0, VERIFY),
        ("no-touch-required,verify-required", 4, None),
    ],
)  # fmt: skip
def test_a_signature_needs_the_flags_that_the_line_asks_for(
    bench: Bench, options: str, flags: int, says: str | None
) -> None:
    seen = bench.gateway.log_lines
    code, err = bench.log_in(options, flags)
    if says is None:
        assert code == 0, err
        return
    assert code == 255
    assert f"ferry: {says}" in err
    denied = bench.gateway.event('"keys.denied"', after=seen)
    assert denied["code"] == ("key_touch" if says == TOUCH else "key_verify")


def test_where_every_key_may_log_in_a_security_key_has_to_be_touched_too(gateway: Gateway, tmp_path: Path) -> None:
    bench = Bench(gateway, tmp_path, {"": SecurityKey()})
    assert bench.log_in("", 1)[0] == 0
    code, err = bench.log_in("", 0)
    assert (code, f"ferry: {TOUCH}" in err) == (255, True)
