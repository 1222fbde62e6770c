"""Options of keys: read as sshd reads them (auth-options.c), or refused with what to write."""

from __future__ import annotations

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.key_options import NO_OPTIONS, KeyOptions, options_end, parse_options
from ferry.protocol.permits import Permit
from known_system import KNOWN

KEY_PERMITS = 4096
KEY_ENVIRONMENT = 1024


def parse(text: str) -> KeyOptions:
    return parse_options(text, KNOWN)


@pytest.mark.parametrize(
    ("text", "off"),
    [
        ("restrict", "restrict"), ("RESTRICT", "restrict"), ("no-port-forwarding", "no-port-forwarding"),
        ("No-Port-Forwarding", "no-port-forwarding"), ("restrict,port-forwarding", ""), ("port-forwarding,restrict", "restrict"),
        ("no-port-forwarding,port-forwarding", ""), ("restrict,no-port-forwarding", "no-port-forwarding"),
        ("restrict,pty,agent-forwarding,X11-forwarding,user-rc", "restrict"), ("no-pty,no-agent-forwarding", ""),
        (",,restrict,,", "restrict"), ('restrict,permitlisten="80"', "restrict"),
    ],
)  # fmt: skip
def test_of_opposite_flags_the_last_counts(text: str, off: str) -> None:
    assert parse(text).forwards_off == off


def test_options_of_a_shell_mean_nothing() -> None:
    text = "no-pty,pty,no-X11-forwarding,x11-forwarding,no-agent-forwarding,agent-forwarding,no-user-rc,user-rc"
    assert parse(f'{text},tunnel="0",tunnel="ANY",tunnel="2147483645"') == NO_OPTIONS


def test_flags_of_security_keys() -> None:
    default = parse("")
    assert (default.touch_required, default.verify_required) == (True, False)
    assert not parse("no-touch-required").touch_required
    assert parse("no-touch-required,touch-required").touch_required
    assert parse("verify-required").verify_required
    assert not parse("verify-required,no-verify-required").verify_required


def test_values_have_quotes_in_which_a_quote_has_a_backslash() -> None:
    assert parse(r'command="echo \"a, b\" \n \\ "').command == r'echo "a, b" \n \\ '
    assert parse('command=""').command == ""
    line = r'command="a \" b",restrict key'
    assert line[options_end(line) :] == " key"
    assert options_end("restrict") == len("restrict")


def test_a_certificate_authority_and_its_principals() -> None:
    options = parse('cert-authority,principals="ann,bob"')
    assert (options.cert_authority, options.principals) == (True, ("ann", "bob"))


def test_of_environment_the_first_of_a_name_counts() -> None:
    assert parse('environment="A=1",environment="B=x=y",environment="A=2"').environment == ("A=1", "B=x=y")


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("20301231Z", (2030, 12, 31, 0, 0, 0)), ("203012312359Z", (2030, 12, 31, 23, 59, 0)),
        ("20301231235958z", (2030, 12, 31, 23, 59, 58)), ("20301231UTC", (2030, 12, 31, 0, 0, 0)),
        ("20301231", (2030, 12, 30, 22, 0, 0)), ("203012310130", (2030, 12, 30, 23, 30, 0)),
        ("20300231Z", (2030, 3, 3, 0, 0, 0)), ("20301231235960Z", (2031, 1, 1, 0, 0, 0)),
    ],
)  # fmt: skip
def test_a_time_is_local_unless_it_says_utc(text: str, when: tuple[int, ...]) -> None:
    assert parse(f'expiry-time="{text}"').expires == calendar.timegm(when)


def test_the_earliest_time_counts() -> None:
    both = parse('expiry-time="20310101Z",expiry-time="20300101Z",expiry-time="20320101Z"')
    assert both == parse('expiry-time="20300101Z"')


@pytest.mark.parametrize(
    ("option", "permit"),
    [
        ('permitlisten="8080"', Permit("*", 8080, bare=True)), ('permitlisten="*"', Permit("*", None, bare=True)),
        ('permitlisten="ssh"', Permit("*", 22, bare=True)), ('permitlisten="*:8080"', Permit("*", 8080)),
        ('permitlisten="localhost:*"', Permit("localhost", None)), ('permitlisten="[::1]:22"', Permit("::1", 22)),
        ('permitlisten=":80"', Permit("", 80)), ('permitlisten="[blog]:0080"', Permit("blog", 80)),
        ('permitlisten="web-?:80"', Permit("web-?", 80)), ('PermitListen="blog:http"', Permit("blog", 80)),
        ('permitopen="*:*"', Permit("*", None)), ('permitopen="db.example.com:5432"', Permit("db.example.com", 5432)),
        ('permitopen="[2001:db8::1]:22"', Permit("2001:db8::1", 22)), ('permitopen="db/5432"', Permit("db", 5432)),
        ('permitopen="[::1]/ssh"', Permit("::1", 22)), ('permitopen="DB:22"', Permit("DB", 22)),
        ('permitlisten="+8080"', Permit("*", 8080, bare=True)), ('permitopen="db: \t+022"', Permit("db", 22)),
    ],
)  # fmt: skip
def test_permits(option: str, permit: Permit) -> None:
    options = parse(option)
    assert (*options.permit_listen, *options.permit_open) == (permit,)


@pytest.mark.parametrize(
    ("permit", "host", "port", "covers"),
    [
        (Permit("web-?", 80), "web-1", 80, "listens"), (Permit("web-?", 80), "web-?", 80, "listens opens names"),
        (Permit("web-?", 80), "db", 80, ""), (Permit("web-?", 80), "web-1", 81, ""), (Permit("db", 80), "db", 80, "listens opens names"),
        (Permit("db", 80), "db", 81, ""), (Permit("db", None), "db", 81, "listens opens"), (Permit("db", None), "web", 81, ""),
        (Permit("*", 80), "db", 80, "listens opens"), (Permit("*", 80), "*", 80, "listens opens"), (Permit("*", None), "db", 1, "listens opens"),
    ],
)  # fmt: skip
def test_what_a_permit_covers(permit: Permit, host: str, port: int, covers: str) -> None:
    asked = {"listens": permit.listens, "opens": permit.opens, "names": permit.names}
    assert [name for name, covered in asked.items() if covered(host, port)] == covers.split()


def test_permits_add_up() -> None:
    options = parse('permitlisten="1",permitopen="a:2",permitlisten="b:3"')
    assert [str(permit) for permit in options.permit_listen] == ["1", "b:3"]
    assert [str(permit) for permit in options.permit_open] == ["a:2"]


@pytest.mark.parametrize(
    ("permit", "text"),
    [(Permit("::1", 22), "[::1]:22"), (Permit("*", None), "*:*"), (Permit("*", 80, bare=True), "80"), (Permit("a", 1), "a:1")],
)  # fmt: skip
def test_a_permit_is_written_as_in_a_line(permit: Permit, text: str) -> None:
    assert str(permit) == text
    assert parse(f'permitlisten="{text}"').permit_listen == (permit,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('permitopen="any:any"', "'any' is no port: write a number from 1 to 65535, or * for every port"),
        ('permitopen="any:any"', 'permitopen="*:*" is every port of every host'),
        ('permitopen="80"', 'is no host with a port: write permitopen="db.example.com:5432"'),
        ('permitopen="::1:80"', 'an IPv6 address stands in brackets: write permitopen="[::1]:80"'),
        ('permitopen="2001:db8::7:22"', 'an IPv6 address stands in brackets: write permitopen="[2001:db8::7]:22"'),
        ('permitopen="[::1]:80:81"', 'an IPv6 address stands in brackets: write permitopen="[::1]:80"'),
        ('permitopen="a:80:81"', 'an IPv6 address stands in brackets: write permitopen="[::1]:80"'),
        ('permitopen="a:80,b:81"', 'one host and port, and no list: write permitopen="a:80",permitopen="b:81"'),
        ('permitopen="a:80,81,82"', 'no list: write permitopen="a:80",permitopen="a:81", and so on'),
        ('permitlisten="80, 81"', 'no list: write permitlisten="80",permitlisten="81"'),
        ('permitopen="[::1:80"', "is no host with a port"),
        ('permitopen="[::1]80"', "is no host with a port"),
        ('permitopen="[::1]"', "is no host with a port"),
        ('permitopen="a:0"', "'0' is no port"),
        ('permitopen="a:65536"', "'65536' is no port"),
        ('permitopen="a:"', "'' is no port"),
        ('permitlisten="+ 80"', "'+ 80' is no port"),
        ('permitlisten="80 "', "'80 ' is no port"),
        ('permitlisten="-80"', "'-80' is no port"),
        ('permitopen="a:٣"', "is no port"),
        (f'permitopen="a:{"0" * 5000}1"', "is no port"),
        ('permitopen="none"', "is no host with a port"),
        (f'permitopen="{"a" * 1025}:80"', "is no host with a port"),
        ('permitlisten="localhost"', "'localhost' is no port"),
        ('permitlisten="[::1]/80"', "is no host with a port"),
        ('permitlisten="[::1]"', 'or the port alone: "80"'),
        ('permitlisten=""', "'' is no port"),
        ('from=""', "it has an empty entry"),
        ('from="10.0.0.0/8,,*"', "it has an empty entry"),
        ('from="10.0.0.1/8"', "has bits behind its mask, so it lets nobody in: write 10.0.0.0/8"),
        ('from="10.0.0.0/33"', "has a mask above 32 bits"),
        ('from="2001:db8::/129"', "has a mask above 128 bits"),
        ('from="!10.0.0.1"', "it excludes only"),
        ('from="fe80::1%eth0"', "has a zone, which is not compared: write fe80::1, which is on every interface"),
        ('from="*,!fe80::%eth0/10"', "has a zone"),
        (f'from="{"a" * 1023}"', "an entry has 1023 characters"),
        ('expiry-time="2030"', "write it as YYYYMMDD, YYYYMMDDhhmm or YYYYMMDDhhmmss, with a Z behind it for UTC"),
        ('expiry-time="2030-12-31"', "write it as YYYYMMDD"),
        ('expiry-time="20301301"', "there is no such time"),
        ('expiry-time="20301232Z"', "there is no such time"),
        ('expiry-time="203012312400"', "there is no such time"),
        ('expiry-time="203012312360Z"', "there is no such time"),
        ('expiry-time="20301231235962Z"', "there is no such time"),
        ('expiry-time="19691231Z"', "it is before 1970"),
        ('expiry-time="19700101Z"', "it is before 1970"),
        ('expiry-time="99991231"', "this system does not know that time"),
        ('environment="A"', 'it names no variable: write environment="NAME=value"'),
        ('environment="A-B=c"', "it names no variable"),
        ('tunnel="x"', "it is no tun device"),
        ('tunnel="٣"', "it is no tun device"),
        (f'tunnel="{"0" * 5000}"', "it is no tun device"),
        ('tunnel="2147483646"', "it is no tun device"),
        ('command="a",command="a"', "it stands twice in the line: keep one"),
        ('from="a",from="b"', "it stands twice in the line"),
        ('principals="a",principals="b"', "it stands twice in the line"),
        ("command=x", 'command: its value has no quotes: write command="..."'),
        ('command="x', "its value has no end"),
        ('command="x"y', "'y' follows it: write a comma between options"),
        ("command", 'command: it needs a value: write command="..."'),
        ('restrict="x"', "restrict: it takes no value: write restrict alone"),
        ("permit-listen", "permit-listen is no option of authorized_keys: did you mean permitlisten?"),
        ("no-restrict", "no-restrict is no option"),
        ("no-cert-authority", "no-cert-authority is no option"),
        ('="x"', "an option without a name is no option"),
        ("\u212aey", "is no option of authorized_keys"),
        ('command="\0"', "a NUL byte"),
    ],
)  # fmt: skip
def test_what_sshd_refuses_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert says in str(caught.value)


def test_a_line_has_room_for_as_many_permits_as_sshd_takes() -> None:
    permit = 'permitopen="a:1"'
    assert len(parse(",".join([permit] * (KEY_PERMITS + 1))).permit_open) == KEY_PERMITS + 1
    with pytest.raises(InvalidInput, match="a line may have 4096 of it"):
        parse(",".join([permit] * (KEY_PERMITS + 2)))


def test_a_line_has_room_for_as_many_variables_as_sshd_takes() -> None:
    variables = [f'environment="A{number}="' for number in range(KEY_ENVIRONMENT + 2)]
    assert len(parse(",".join(variables[:-1])).environment) == KEY_ENVIRONMENT + 1
    with pytest.raises(InvalidInput, match="a line may have 1024 of it"):
        parse(",".join(variables))


SECRET = "Sesame17"


@pytest.mark.parametrize(
    "text", [f'{SECRET}="x"', f'command="{SECRET}",command="b"', f'from="{SECRET}/8,10.1.1.1/8"', f'permitopen="{SECRET}"',
             f'permitlisten="{SECRET}:{SECRET}"', f'expiry-time="{SECRET}"', f'environment="{SECRET}"', f"restrict={SECRET}",
             f'restrict"{SECRET}"', f'command="a"{SECRET}', f'tunnel="{SECRET}"']
)  # fmt: skip
def test_the_log_gets_no_text_of_a_line(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert SECRET not in caught.value.detail


@given(st.text(alphabet='abr=,"\\ -\t:*', max_size=30))
def test_what_is_not_an_option_is_never_passed_over(text: str) -> None:
    try:
        end = options_end(text)
        options = parse(text[:end])
    except InvalidInput:
        return
    assert options == NO_OPTIONS
    assert not text[:end].strip(",")
