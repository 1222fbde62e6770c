"""Decides on a log-in with a certificate, as sshd does (auth2-pubkeyfile.c and auth2-pubkey.c of OpenSSH).

The lines that speak for a certificate are those of its CA with `cert-authority`, and then the line by which its CA is
trusted for all. The first that admits it decides. What the line and the certificate allow both is allowed.

Texts for the client repeat what its certificate says, and no date and no option of a line: nobody has proved the key yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ferry.errors import InvalidInput, Refusal
from ferry.names import printable
from ferry.protocol.certificates import FOREVER, Certificate, CertificateKind, Permissions, read_permissions
from ferry.protocol.host_patterns import is_in
from ferry.protocol.key_options import KeyOptions

from .keys import NO_EXTENSION, Caller, Certified, KeyLine, first_that_admits, line_refusal, shown_time

_SHOWN_PRINCIPALS = 4


def log_in(certificate: Certificate, lines: Sequence[KeyLine], caller: Caller) -> KeyLine | Refusal | None:
    """The line that lets the holder of a certificate in, with the options of both; None if no line counts for the login
    name. A refusal is that of the first line. The CA has signed the certificate."""
    return first_that_admits(lines, caller, lambda line: _judged(line, certificate, caller))


def _judged(line: KeyLine, certificate: Certificate, caller: Caller) -> KeyLine | Refusal:
    if certificate.kind is not CertificateKind.USER:
        return _refusal(
            "it is the certificate of a host, and no user's: sign your key without -h",
            "certificate_kind",
            line,
            certificate,
        )
    if (refusal := line_refusal(line, caller)) is not None:
        return refusal
    try:
        allowed = read_permissions(certificate)
    except InvalidInput as error:
        return _refusal(str(error), "certificate_options", line, certificate)
    return (
        _elsewhere(line, certificate, allowed, caller)
        or _another_command(line, certificate, allowed)
        or _wrong_principal(line, certificate, caller)
        or _wrong_time(line, certificate, caller)
        or replace(line, options=_both(line.options, allowed), certified=Certified(line, certificate))
    )


def _elsewhere(line: KeyLine, certificate: Certificate, allowed: Permissions, caller: Caller) -> Refusal | None:
    if allowed.sources is None or is_in(caller.address, allowed.sources):
        return None
    why = f"your certificate may not be used from {printable(caller.address)} (source-address)"
    return _refusal(why, "certificate_from", line, certificate)


def _another_command(line: KeyLine, certificate: Certificate, allowed: Permissions) -> Refusal | None:
    if line.options.command is None or allowed.command in (None, line.options.command):
        return None
    why = "force-command of your certificate is not the command= of its line here, so it may not log in"
    return _refusal(why, "certificate_command", line, certificate)


def _wrong_principal(line: KeyLine, certificate: Certificate, caller: Caller) -> Refusal | None:
    """An empty list of principals matches nobody, as in sshd from 10.3 on."""
    wanted, has = line.options.principals, certificate.principals
    if not has:
        why = "your certificate names nobody: sign one with principals, as in ssh-keygen -s CA -I ID -n LOGIN_NAME"
    elif wanted is None and caller.user not in has:
        shown = ", ".join(printable(name, 40) for name in has[:_SHOWN_PRINCIPALS])
        more = f" and {len(has) - _SHOWN_PRINCIPALS} more" if len(has) > _SHOWN_PRINCIPALS else ""
        why = (
            f"your certificate is for the login names {shown}{more}, and not for {printable(caller.user, 40)}: "
            f"log in as one of them (ssh {printable(has[0], 40)}@...)"
        )
    elif wanted is not None and not set(wanted) & set(has):
        why = f"none of the principals of your certificate may log in as {printable(caller.user, 40)} here"
    else:
        return None
    return _refusal(why, "certificate_principal", line, certificate)


def _wrong_time(line: KeyLine, certificate: Certificate, caller: Caller) -> Refusal | None:
    if certificate.in_time(caller.now):
        return None
    early = int(caller.now) < certificate.valid_after
    end = "no end" if certificate.valid_before == FOREVER else shown_time(certificate.valid_before)
    return _refusal(
        "your certificate is not valid yet: look at the clocks, or wait" if early
        else "your certificate has run out: ask for a new one",
        "certificate_time",
        line,
        certificate,
        detail=f"it is valid from {shown_time(certificate.valid_after)} to {end}",
    )  # fmt: skip


def _refusal(why: str, code: str, line: KeyLine, certificate: Certificate, detail: str = "") -> Refusal:
    which = f"certificate {printable(certificate.key_id, 60)!r}, serial {certificate.serial}"
    return Refusal(why, code=code, detail=f"{which}: {detail or why}", rule=line.rule("cert-authority"))


def _both(options: KeyOptions, allowed: Permissions) -> KeyOptions:
    """The options of a line, with what a certificate does not allow (auth-options.c, sshauthopt_merge)."""
    return replace(
        options,
        forwards_off=options.forwards_off or ("" if allowed.forwards else NO_EXTENSION),
        command=options.command if options.command is not None else allowed.command,
        touch_required=options.touch_required or allowed.touch_required,
        verify_required=options.verify_required or allowed.verify_required,
    )
