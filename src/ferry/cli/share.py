"""`python -m ferry.cli.share FOLDER`: write the manual pages and the completion of all shells below FOLDER.

`make install` calls it with `/usr/local/share`. It writes in one start of the program what `ferry docs man`, `ferry docs
man-configuration` and `ferry completion SHELL` print.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType
from typing import Final

import typer
from typer.core import TyperGroup

from ferry.regular_files import write_text

from .completion import Shell, script
from .docs import Page, text_of

PAGES: Final = MappingProxyType({"man/man1/ferry.1": Page.MAN, "man/man5/ferry.toml.5": Page.MAN_CONFIGURATION})
SCRIPTS: Final = MappingProxyType(
    {
        "bash-completion/completions/ferry": Shell.BASH,
        "zsh/site-functions/_ferry": Shell.ZSH,
        "fish/vendor_completions.d/ferry.fish": Shell.FISH,
    }
)


def write(share: Path) -> None:
    """Write all files below `share`, each by a rename. Raises OSError."""
    from .main import program

    group = typer.main.get_command(program())
    assert isinstance(group, TyperGroup)
    texts = {name: text_of(page, group) for name, page in PAGES.items()}
    texts |= {name: script(shell, group) for name, shell in SCRIPTS.items()}
    for name, text in texts.items():
        file = share / name
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.new")
        write_text(new, text)
        new.replace(file)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
