"""`ferry`: the commands. Each module of this folder holds one, and imports its implementation inside the function."""

from __future__ import annotations

import os
import sys

import typer

from ferry.errors import FerryError, InvalidInput, StartupError

from .allow import allow
from .backup import backup, restore
from .ca import ca
from .check_config import check_config
from .close import close
from .completion import completion
from .docs import docs
from .events import events
from .forget_host_key import forget_host_key
from .help import help_page, version, version_text
from .import_settings import import_settings
from .init import init
from .install_service import install_service
from .lint import lint
from .ls import ls
from .output import discard_stdout, of_stdout
from .release import release
from .serve import serve
from .status import status
from .unblock import unblock

EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_STARTUP = 3

app = typer.Typer(
    name="ferry",
    help="A self-hosted reverse-SSH tunnel gateway: web addresses, TCP ports and private machines over stock ssh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_text())
        raise typer.Exit


@app.callback()
def root(
    _wanted: bool = typer.Option(False, "--version", "-V", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """A self-hosted reverse-SSH tunnel gateway: web addresses, TCP ports and private machines over stock ssh."""


app.command("serve", short_help="Run the gateway until SIGTERM or Ctrl-C.")(serve)
app.command("status", short_help="Show the running gateway and its counts.")(status)
app.command("ls", short_help="List open tunnels, connections or names.")(ls)
app.command("close", short_help="Close a tunnel or a connection.")(close)
app.command("release", short_help="Give reserved names back.")(release)
app.command("allow", short_help="Let in a key that was refused, or list those keys.")(allow)
app.command("unblock", short_help="List blocked addresses, or unblock one.")(unblock)
app.command("events", short_help="Show the last events.")(events)
app.command("check-config", short_help="Check the configuration and this host.")(check_config)
app.command("init", short_help="Ask, then write a configuration file.")(init)
app.command("install-service", short_help="Write a hardened systemd unit.")(install_service)
app.command("backup", short_help="Write the gateway's data into one file.")(backup)
app.command("restore", short_help="Put a backup's data back.")(restore)
app.command("ca", short_help="Print how to trust the gateway's own CA.")(ca)
app.command("forget-host-key", short_help="Let the gateway have another host key.")(forget_host_key)
app.command("lint", short_help="Name the traps of an OpenSSH server.")(lint)
app.command("import", short_help="Translate an sshd_config into Ferry's settings.")(import_settings)
app.command("docs", short_help="Print a reference page in Markdown, or for man.")(docs)
app.command("completion", short_help="Print a completion script for a shell.")(completion)
app.command("version", short_help="Print the version.")(version)
app.command("help", short_help="Show how a command is used.")(help_page)


def main() -> None:
    """Run the command line. Errors are one clear text on stderr; FERRY_DEBUG=1 shows the traceback too."""
    try:
        try:
            app()
        except SystemExit:
            sys.stdout.flush()  # at the interpreter's own flush a full disk would be no error of the command
            raise
    except FerryError as error:
        if os.environ.get("FERRY_DEBUG") == "1":
            raise
        sys.stderr.write(f"ferry: {error}\n")
        sys.exit(exit_code(error))
    except OSError as error:
        if not of_stdout(error):
            raise
        discard_stdout()
        if isinstance(error, BrokenPipeError):  # `| head` has read enough
            sys.exit(0)
        sys.stderr.write(f"ferry: cannot write to standard output: {error.strerror}\n")
        sys.exit(EXIT_FAILED)


def exit_code(error: FerryError) -> int:
    """2 for invalid input, 3 for a gateway that cannot start, 1 otherwise."""
    match error:
        case InvalidInput():
            return EXIT_INVALID
        case StartupError():
            return EXIT_STARTUP
        case _:
            return EXIT_FAILED
