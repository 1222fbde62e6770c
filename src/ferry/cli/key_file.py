"""The files of `access.keys` for commands that change them, and the file to add a key to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ferry.errors import FerryError, InvalidInput
from ferry.ownership import other_owner, user_name
from ferry.protocol.key_paths import parse_key_path

from .options import source
from .output import safe

# In a folder of key files. An identity cannot have this name, because of the underscore: the name of a file is that of the
# identity of its keys, and the keys that `ferry allow` lets in are those of several people.
_ADDED: Final = "ferry_allow.keys"


def key_files(told: list[str], file: Path | None, state: Path) -> list[str]:
    """The files of `access.keys` in the configuration, which are to be those that the running gateway has told. Raises
    FerryError if they are not.

    The gateway's process may be in a stranger's hands, and root writes where this says. So what it has told is good enough
    only for its own user, who may write there anyway.
    """
    if file is None:
        if (owner := other_owner(state)) is None:
            return told
        raise FerryError(
            f"the gateway in {state} runs as {user_name(owner)}, and root does not write to a file because that user "
            "names it: name the gateway's configuration with --config FILE"
        )
    access = source(file).load().access
    paths = access.keys if access.mode == "keys" else []
    named = [str(path.resolve()) for path in paths]
    if named != told:
        raise FerryError(
            f"the gateway that runs lets in {_whom(told)}, and with {file} it would let in {_whom(named)}: reload it "
            "(`ferry reload`), or name its own configuration with --config"
        )
    return [str(path) for path in paths]  # with their links, which whoever writes there looks at


def _whom(files: list[str]) -> str:
    return f"the keys in {safe(', '.join(files))}" if files else "every key"


def file_for(paths: list[str], user: str | None, offered: list[str]) -> Path:
    """The file to add a key to: the first of `access.keys`, a file of our own in it if that is a folder, or the file for
    the login name if it has `%u`. Of several login names that were `offered` with the key the operator says which: whoever
    knows a public key can offer it with any."""
    if not paths:
        raise FerryError("this gateway has no files of keys (access.keys): it lets in every key, or certificates alone")
    first = parse_key_path(Path(paths[0]))
    if first.part:
        if user is None and len(offered) != 1:
            names = (
                f"the key was offered with the login names {', '.join(map(safe, offered))}"
                if offered
                else (f"{safe(paths[0])} has a file for each login name")
            )
            raise FerryError(f"{names}: name the right one with --user NAME")
        return first.file_of(offered[0] if user is None else user)
    if user is not None:
        raise InvalidInput(f"{safe(paths[0])} is for every login name (no %u): leave out --user")
    return first.path / _ADDED if first.path.is_dir() else first.path
