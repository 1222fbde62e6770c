"""`ferry`: the commands. Each module of this folder holds one, and imports its implementation inside the function."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, Exit, TyperException

from ferry.errors import FerryError, InvalidInput, StartupError

from .help import version_document, version_text
from .options import JsonOption, Output, OutputOption, wants_json
from .output import discard, of_stdout, prepare_streams, print_error, print_json

EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_STARTUP = 3
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT

_COMMANDS: Final = (
    ("serve", "serve", "serve", "Run the gateway until SIGTERM or Ctrl-C."),
    ("status", "status", "status", "Show the running gateway and its counts."),
    ("ls", "ls", "ls", "List open tunnels, connections or names."),
    ("ports", "ports", "ports", "Show which port is whose."),
    ("reload", "reload", "reload", "Let the gateway read its configuration again."),
    ("close", "close", "close", "Close a tunnel or a connection."),
    ("release", "release", "release", "Give reserved names back."),
    ("allow", "allow", "allow", "Let in a key that was refused, or list those keys."),
    ("keys", "keys", "keys", "List the keys of a fleet, or change them."),
    ("unblock", "unblock", "unblock", "List blocked addresses, or unblock one."),
    ("ssh-config", "ssh_config", "ssh_config", "Print ssh_config blocks for the machines."),
    ("events", "events", "events", "Show the last events."),
    ("audit", "audit", "audit", "Show who did what, or prove that the log of it is whole."),
    ("check-config", "check_config", "check_config", "Check the configuration and this host."),
    ("init", "init", "init", "Ask, then write a configuration file."),
    ("install-service", "install_service", "install_service", "Write a hardened systemd unit."),
    ("backup", "backup", "backup", "Write the gateway's data into one file."),
    ("restore", "backup", "restore", "Put a backup's data back."),
    ("ca", "ca", "ca", "Print how to trust the gateway's own CA."),
    ("forget-host-key", "forget_host_key", "forget_host_key", "Let the gateway have another host key."),
    ("policy", "policy", "policy", "Check who may publish and reach what."),
    ("lint", "lint", "lint", "Name the traps of an OpenSSH server."),
    ("import", "import_settings", "import_settings", "Translate an sshd_config into Ferry's settings."),
    ("docs", "docs", "docs", "Print a reference page in Markdown, or for man."),
    ("completion", "completion", "completion", "Print a completion script for a shell."),
    ("version", "help", "version", "Print the version."),
    ("help", "help", "help_page", "Show how a command is used."),
)
"""Each command, the module and the function that run it, and its line in the help."""


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted and context.obj is True:
        print_json(version_document())
    elif wanted:
        typer.echo(version_text())
    if wanted:
        raise typer.Exit


def root(
    _wanted: bool = typer.Option(False, "--version", "-V", callback=_version, is_eager=True, help="Print the version."),
    _as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """A self-hosted reverse-SSH tunnel gateway: web addresses, TCP ports and private machines over stock ssh.

    With --json or --output json, before the command or behind it, the answer is JSON on standard output, and an error is an
    object on standard error.
    """


def program(only: str | None = None) -> typer.Typer:
    """All commands, or `only` one. Each needs its module: the others are 1.6 MB, which a gateway would keep for good."""
    app = typer.Typer(
        name="ferry",
        help="A self-hosted reverse-SSH tunnel gateway: web addresses, TCP ports and private machines over stock ssh.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name, module, function, line in _COMMANDS:
        if only is None or name == only:
            app.command(name, short_help=line)(getattr(import_module(f".{module}", __package__), function))
    return app


def main() -> None:
    """Run the command line. Errors are one clear text on stderr; FERRY_DEBUG=1 shows the traceback too."""
    words = sys.argv[1:]
    prepare_streams()
    code = _guarded(words, as_json=wants_json(words))
    gc.freeze()  # else the interpreter's end looks for cycles among all objects, for up to half a second of a gateway
    sys.exit(code)


def _guarded(words: Sequence[str], *, as_json: bool) -> int:
    """Run the command and tell its error. Returns the exit code."""
    try:
        try:
            code = _run(words, as_json=as_json)
        except FerryError as error:
            if _debugging():
                raise
            from .client import ApiError

            what, fix = (error.error, error.fix) if isinstance(error, ApiError) else (str(error), "")
            print_error(what, fix, as_json=as_json, log="serve" in words)
            code = exit_code(error)
        sys.stdout.flush()  # at the interpreter's own flush a full disk would be no error of the command
    except OSError as error:
        return _failed(error, as_json=as_json)
    return code


def _run(words: Sequence[str], *, as_json: bool) -> int:
    """Run the command. Returns its exit code. Raises FerryError and OSError."""
    group = typer.main.get_command(program("serve" if words[:1] == ["serve"] else None))
    assert isinstance(group, TyperGroup)
    words = _help_in_json(words, group) if as_json else words
    command: str | None = None
    try:
        context = group.make_context("ferry", list(words), obj=as_json)
        try:
            with context:
                group.invoke(context)
        finally:
            command = context.invoked_subcommand
    except Exit as ended:
        return ended.exit_code
    except TyperException as error:  # the command line is wrong
        if not words:  # the message is the help
            typer.echo(error.format_message(), err=True)
            return EXIT_INVALID
        message = _plain(error.format_message())
        fix = f"`ferry {command} -h` shows how it is used" if command else "`ferry help` lists the commands"
        print_error(message[:1].lower() + message[1:], fix, as_json=as_json)
        return error.exit_code
    except Abort:
        print_error("ended before the last question was answered: nothing was written", as_json=as_json)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _plain(message: str) -> str:
    """An error about the command line on one line, without the words of the library that has found it."""
    plain = " ".join(message.split()).rstrip(".").replace(": Value error, ", ": ")
    return plain.replace(
        "Input should be a valid integer, unable to parse string as an integer", "it is no whole number"
    )


def _help_in_json(words: Sequence[str], group: TyperGroup) -> Sequence[str]:
    """`--help` beside `--json` is the same as `help`, which has an answer in JSON."""
    if {"-h", "--help"}.isdisjoint(words):
        return words
    command = next((word for word in words if word in group.commands), None)
    return ["help", "--json", *([command] if command else [])]


def _failed(error: OSError, *, as_json: bool) -> int:
    """Tell an error of the system. Returns the exit code."""
    if of_stdout(error):
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # `| head` has read enough
            return 0
        print_error(f"cannot write to standard output: {error.strerror}", as_json=as_json)
        return EXIT_FAILED
    if _debugging() or not error.strerror:
        raise error
    fix = "run this as the user of the gateway, or with sudo" if isinstance(error, PermissionError) else ""
    print_error(f"{error.filename}: {error.strerror}" if error.filename else error.strerror, fix, as_json=as_json)
    return EXIT_FAILED


def _debugging() -> bool:
    return os.environ.get("FERRY_DEBUG") == "1"


def exit_code(error: FerryError) -> int:
    """2 for invalid input, 3 for a gateway that cannot start, 1 otherwise."""
    match error:
        case InvalidInput():
            return EXIT_INVALID
        case StartupError():
            return EXIT_STARTUP
        case _:
            return EXIT_FAILED
