"""The gateway whose keys a command changes: one that runs is asked, one that has stopped is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferry.errors import FerryError, InvalidInput
from ferry.ownership import other_owner, rights_of

from .client import ApiError, Gateway, rules_for, unread_keys
from .key_file import key_files
from .locate import answers, candidate_folders, find_installation, is_closed
from .options import source

if TYPE_CHECKING:
    from ferry.config.model import Access, Config


@dataclass(frozen=True, slots=True)
class Door:
    """One gateway."""

    state: Path
    files: list[str]
    """`access.keys`; empty if every key is let in."""
    stopped: Config | None
    """The configuration of one that does not run."""
    access: Access | None
    """Who is let in, by the configuration; None if that is not known."""

    def known_keys(self) -> list[dict[str, Any]]:
        """The keys that it knows."""
        if self.stopped is None:
            found: list[dict[str, Any]] = Gateway(self.state).get("keys")
            return found
        return list(self._opened("keys", None))

    def ports(self) -> list[dict[str, Any]]:
        """The port table."""
        if self.stopped is None:
            found: list[dict[str, Any]] = Gateway(self.state).get("ports")
            return found
        return list(self._opened("ports", None))

    def unread(self) -> str:
        """Why some keys of the files do not count now; empty if all do, or if it does not run."""
        return "" if self.stopped else unread_keys(Gateway(self.state))

    def rules(self, key: str, name: str, ports: Sequence[int]) -> dict[str, Any] | None:
        """`KeyRules`: how a key stands with the policy; None without a policy file."""
        if self.stopped is None:
            return rules_for(Gateway(self.state), key, name, ports)
        found: dict[str, Any] | None = self._opened("rules", {"key": key, "name": name, "ports": list(ports)})
        return found

    def enrol(self, **wanted: object) -> dict[str, Any]:
        """`EnrolRequest` → `EnrolledInfo`, as documents."""
        return self._done("enrol", wanted)

    def replace(self, **wanted: object) -> dict[str, Any]:
        """`ReplaceRequest` → `ReplacedInfo`."""
        return self._done("replace", wanted)

    def forget(self, **wanted: object) -> dict[str, Any]:
        """`ForgetRequest` → `ForgottenInfo`."""
        return self._done("forget", wanted)

    def _done(self, action: str, wanted: dict[str, object]) -> dict[str, Any]:
        if self.stopped is None:
            try:
                answer: dict[str, Any] = Gateway(self.state).post(f"keys/{action}", wanted)
            except ApiError as error:
                if error.status == HTTPStatus.BAD_REQUEST:  # as the state folder answers
                    raise InvalidInput(str(error)) from None
                raise
            return answer
        done: dict[str, Any] = self._opened(action, wanted)
        return done

    def _opened(self, action: str, wanted: dict[str, object] | None) -> Any:
        """The answer out of the state folder, with the rights of its owner."""
        import asyncio

        from ferry.gateway.stopped import answer

        assert self.stopped is not None
        try:
            with rights_of(other_owner(self.state)):
                return asyncio.run(answer(self.stopped, action, wanted))
        except OSError as error:
            raise FerryError(f"{error.filename or self.state}: {error.strerror}: run this with sudo") from None


def find_door(state: Path | None, config: Path | None, *, reads: bool = False) -> Door:
    """The gateway that is meant. Where the command only `reads`, the files of one that runs may be others than those of
    the configuration, and are not told. Raises FerryError."""
    named = state is not None or config is not None or "FERRY_STATE" in os.environ
    folder = candidate_folders(state, os.environ, config=config)[0] if named else find_installation(os.environ)
    if folder is None:
        raise FerryError("no gateway found: name its configuration with --config FILE")
    file = config or folder.config
    if answers(folder.state):
        if reads:
            return Door(folder.state, [], None, None)
        files = key_files(Gateway(folder.state).get("refused-keys")["files"], file, folder.state)
        return Door(folder.state, files, None, source(file).load().access if file is not None else None)
    if is_closed(folder.state):
        raise FerryError(f"{folder.state}: permission denied: run this with sudo, or as the gateway's user")
    if file is None:
        raise InvalidInput(f"no gateway runs in {folder.state}: name its configuration with --config FILE")
    settings = source(file, state=state).load()
    paths = [str(path) for path in settings.access.keys] if settings.access.mode == "keys" else []
    return Door(settings.state, paths, settings, settings.access)
