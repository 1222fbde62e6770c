"""The bounds of the gateway, with their units. The comment on a constant's line, or right above it, explains that
constant. A bound that one module alone knows, and no operator may change, may stand in that module.

The operator may change those that are defaults of fields in `ferry.config.model`.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- HTTP/1.1, visitors (RFC 9112 §3 leaves these to the server; Caddy and Envoy use the same order of size)
REQUEST_LINE_BYTES: Final = 8 * KIB  # a longer request line gets 414
HEAD_BYTES: Final = 16 * KIB  # request line and fields together; a longer head gets 431
HEAD_FIELDS: Final = 100  # a head with more fields gets 431
RESPONSE_HEAD_BYTES: Final = 64 * KIB  # origins send large cookies and policies
RESPONSE_HEAD_FIELDS: Final = 200
INTERIM_RESPONSES: Final = 16  # 1xx answers to one request; more is a flood
CHUNK_LINE_BYTES: Final = 256  # chunk size with its extensions
TRAILER_BYTES: Final = 8 * KIB  # trailers are read and dropped
HEAD_REMEMBERED_BYTES: Final = 2 * KIB  # heads up to this size are cached: visitors often send the same one again
HEADS_REMEMBERED: Final = 256  # cached heads of all visitors; the cache lasts a second
HEAD_SECONDS: Final = 10.0  # for a whole head, from its first byte or the accept
KEEPALIVE_SECONDS: Final = 75.0  # for which a visitor's connection may be idle between two requests
BODY_MIN_RATE: Final = 240  # bytes/s at which a request's body must arrive (as in Kestrel); 0 turns it off
READ_MIN_RATE: Final = 240  # bytes/s at which a visitor must read while its buffer is over the high-water mark
PACE_SECONDS: Final = 20.0  # the window over which BODY_MIN_RATE and READ_MIN_RATE are measured
CROWDED_PACE_SECONDS: Final = 5.0  # PACE_SECONDS once more than half of a tunnel's places are taken
CONNECTIONS_PER_VISITOR: Final = 512  # HTTP and TCP ports, from one IPv4 address or IPv6 /64; loopback is not counted
LOOP_PASSES: Final = 8  # tunnels of this gateway that one request may pass through, each another one; then 508
PIPELINE_BYTES: Final = 64 * KIB  # read ahead while a request is being answered; then reading pauses

# --- the byte path
HIGH_WATER_BYTES: Final = 256 * KIB  # buffered in one direction of one stream; past it the writer is paused
LOW_WATER_BYTES: Final = 64 * KIB
VISITOR_HIGH_WATER_BYTES: Final = 64 * KIB  # buffered for one visitor; past it its stream is paused
VISITOR_LOW_WATER_BYTES: Final = 16 * KIB
VISITOR_UNSENT_BYTES: Final = 128 * KIB  # of one visitor's connection in the kernel (TCP_NOTSENT_LOWAT)
# What a client may send ahead on one channel (RFC 4254 §5.2). Together with HIGH_WATER_BYTES, a visitor that stops
# reading costs 1 MiB.
CHANNEL_WINDOW_BYTES: Final = 768 * KIB
NEAR_SECONDS: Final = 0.002  # a client that answers the open of a channel within this is near
NEAR_WINDOW_BYTES: Final = 256 * KIB  # CHANNEL_WINDOW_BYTES of a near client: carries 1 Gbit/s; small answers wait less
# All windows of one connection together: the more channels, the smaller each one's window. Stock ssh copies all of its
# unsent data for each packet that it adds. With 64 MiB it did nothing else for seconds.
WINDOWS_BYTES: Final = 8 * MIB
LEAST_WINDOW_BYTES: Final = 8 * KIB  # of one channel, however many there are
CHANNEL_PACKET_BYTES: Final = 32 * KIB  # RFC 4253 §6.1: every implementation takes this much
LEAST_PACKET_BYTES: Final = 256  # a channel with smaller packets is refused: each costs as much as a large one
SMALL_PIECE_BYTES: Final = 4 * KIB  # waiting data in smaller pieces is joined: each object takes 50 bytes beside it
TURN_PACKETS: Final = 256  # read from one connection, or sent to it as data, before the others' turn (~2 ms)
SMALL_WRITE_BYTES: Final = 512  # a smaller write to a waiting visitor takes 750 bytes beside its data (uvloop)
SMALL_WRITES: Final = 128  # of such waiting writes; past it the tunnel pauses until the visitor has taken all of them
STREAM_OPEN_SECONDS: Final = 30.0  # from CHANNEL_OPEN to its answer
LOCAL_TLS_SECONDS: Final = 10.0  # for a local service's TLS handshake (`-R 443:...`), once its stream is open
POOL_IDLE_STREAMS: Final = 64  # idle channels kept per tunnel
POOL_IDLE_SECONDS: Final = 4.0  # below the 5 s after which Node closes a quiet connection
HALF_CLOSED_SECONDS: Final = 30.0  # between two bytes of the answer to a visitor that has sent end-of-file
CLOSE_SECONDS: Final = 75.0  # for a visitor to read the end of an answer after which the connection closes
UNSENT_VISITORS: Final = 32  # of one tunnel; from here on the unsent bytes in the kernel are bounded for each of them
# Unsent in the kernel for all visitors of one tunnel, in equal shares. Past it the tunnel reads no more from the service.
VISITORS_UNSENT_BYTES: Final = 8 * MIB
VISITOR_UNSENT_LEAST_BYTES: Final = 16 * KIB  # the smallest share of one visitor; a shorter answer is never measured
UNSENT_LOOK_BYTES: Final = 64 * KIB  # of an answer, between two checks whether the tunnel has so many visitors
UNSENT_LOOK_SECONDS: Final = 0.004  # between two measurements of such a visitor: 16 KiB each 4 ms are 32 Mbit/s
UNSENT_LOOK_MOST_SECONDS: Final = 0.5  # the interval doubles up to this while the visitor does not read
# Between two checks whether a paused visitor has left. Watching its socket would wake the loop for nothing; a check costs
# 2 µs.
LEFT_LOOK_SECONDS: Final = 1.0
# To recognise a framework's refusal of the host: Rails' page has 6 KB of styles before it.
HINT_BYTES: Final = 16 * KIB  # of the beginning of an answer with status 400 or 403
HINT_PIECES: Final = 4  # in which they may come
HINT_ANSWERS: Final = 100  # of one tunnel that are looked at
RETRY_AFTER_SECONDS: Final = 5  # `Retry-After` of a 503
OWN_PAGE_SECONDS: Final = (
    300  # for which caches may keep the page at the gateway's own name: a new contact is soon seen
)
EDGE_TICK_SECONDS: Final = 1.0  # between two checks of the deadlines of visitors and idle streams
REQUESTS_IN_A_PIECE: Final = 32  # pipelined requests that are answered in one go: 1 ms
CHUNKS_IN_A_PIECE: Final = 128  # chunk lines of a body that are decoded in one go (9 µs each); more wait for their turn
PIECES_IN_A_TURN: Final = 4  # such pieces of work in one turn of the loop, over all visitors
CUT_IN_A_TURN: Final = 8  # visitors past their deadline that are cut in one turn; the next ones follow after a pause
CUT_PAUSE_SECONDS: Final = 0.008  # at 2 ms, the reads that an attack began anew delayed other visitors by 50 ms
LINGER_SECONDS: Final = 2.0  # for which a refused visitor is read from before the close (RFC 9112 §9.6)

# --- SSH
HANDSHAKES: Final = 200  # connections that have not authenticated, in all
HANDSHAKES_PER_NETWORK: Final = 30  # of one IPv4 /24 or IPv6 /64
# When all slots are taken, a newcomer may displace a handshake that has not moved for this long: one that is silent, one
# that has exchanged keys, one that has offered an acceptable key.
HANDSHAKE_PATIENCE_SECONDS: Final = (2.0, 5.0, 20.0)
HANDSHAKES_NOTE_SECONDS: Final = 60.0  # between two log lines about refused and displaced handshakes
# Refused connections kept open until they have read the reason; past it the oldest closes.
REFUSED_LINGERING: Final = 256
KEY_GRACE_SECONDS: Final = 20.0  # until a client has offered an acceptable key
LOGIN_GRACE_SECONDS: Final = 120.0  # for the whole log-in, with a passphrase to type or a token to touch
REFUSED_KEYS: Final = 100  # keys that were not let in and are remembered for `ferry allow`
REFUSED_KEYS_PER_NETWORK: Final = 8  # of these from one IPv4 /24 or IPv6 /64
REFUSED_KEY_BYTES: Final = 4 * KIB  # a larger key is not remembered; RSA with 16,384 bits has 2 KiB
REFUSED_KEY_USERS: Final = 4  # login names that are remembered with one of them, the last ones
AUTH_TRIES: Final = 6  # per connection, as OpenSSH MaxAuthTries
# Authentication requests of one connection until it has logged in, refused or not. A question about a key costs the client
# nothing, and a signature that the next request supersedes costs us 0.8 ms and a transaction.
AUTH_REQUESTS: Final = 64
KEYS_OF_LOGIN: Final = 4  # that AuthenticationMethods may ask for; ssh offers those before again, which counts as tries
PENALTY_NOTHING_SECONDS: Final = 1.0  # for leaving before a log-in (sshd: noauth)
# For HTTP or TLS on the SSH port: a person has typed that port into a browser, which tries both, and a favicon. Eight
# such pages within seconds block nobody's ssh.
PENALTY_OTHER_PROTOCOL_SECONDS: Final = 0.5
PENALTY_GARBAGE_SECONDS: Final = 2.0  # for other bytes that are not SSH
PENALTY_KEYS_SECONDS: Final = 5.0  # for a connection that ends after refused keys (sshd: authfail)
PENALTY_GRACE_SECONDS: Final = 10.0  # for a log-in that runs into its time limit (sshd: grace-exceeded)
PENALTY_THRESHOLD_SECONDS: Final = 15.0  # the sum of penalties at which an address is blocked (sshd: min)
PENALTY_MAX_SECONDS: Final = 600.0  # longest block (sshd: max)
PENALTY_SOURCES: Final = 65_536  # addresses remembered; past it the one with the least time left is forgotten
LANE_PACE_SECONDS: Final = 1.0  # between two handshakes of a blocked address
LANE_SECONDS: Final = 10.0  # for a whole log-in from a blocked address
KEEPALIVE_INTERVAL_SECONDS: Final = 15.0  # of silence, after which a client is asked for a sign of life
KEEPALIVE_COUNT: Final = 3  # such intervals of silence after which the connection ends
FORWARDS_PER_CONNECTION: Final = 16
FORWARDS_PER_IDENTITY: Final = 32
CHANNELS_PER_CONNECTION: Final = 1024
SESSIONS_PER_CONNECTION: Final = 10  # as OpenSSH MaxSessions
HOST_LABEL_CHARS: Final = 100  # of what a client's environment says its machine is called; the rest is cut off
CONNECTIONS_PER_IDENTITY: Final = 64
GLOBAL_REQUESTS_PER_SECOND: Final = 50
# Requests of up to HOST_BYTES that wait for the one being decided; more are refused.
GLOBAL_REQUESTS_WAITING: Final = 64
DIRECT_OPEN_BYTES: Final = 2 * KIB  # of a channel open that waits among them; a longer one does not wait
# Channel requests of one connection and its opens of sessions; more are refused. It is enough for ten sessions at once,
# each with a terminal, a command and the environment that distributions send.
CHANNEL_REQUESTS_PER_SECOND: Final = 200
WORDS_CHARS: Final = 4096  # words after the host; the time to parse them grows with their length
WORDS: Final = 256  # of these words: each unknown one costs 3 µs, and people release up to 200 names at once
# Opens by `-L`, `-D`, `-J` and `-W` on one connection, granted or not; more are refused.
DIRECT_OPENS_PER_SECOND: Final = 1000
OWN_PORT_STREAMS: Final = 8  # streams of a TCP port up to which its own client may come back to it through `-L`
# Connections from the gateway to hosts of the network, for `-L`, `-D` and `-W` of keys that may have them. The number
# in all stays far below DESCRIPTORS_PAUSE of a usual limit.
OUTBOUND_STREAMS: Final = 1024
OUTBOUND_STREAMS_PER_IDENTITY: Final = 256  # a browser behind `-D` has some 30 at once
OUTBOUND_OPENS_PER_SECOND: Final = 50  # of one identity
OUTBOUND_LOOKUPS: Final = (
    64  # of names at once, one thread each; a slow one keeps its place until the resolver gives up
)
OUTBOUND_LOOKUPS_PER_IDENTITY: Final = 8
OUTBOUND_LOOKUP_SECONDS: Final = 5.0  # for one of them
OUTBOUND_ADDRESSES: Final = 8  # of one name that are tried
OUTBOUND_ATTEMPT_SECONDS: Final = 0.25  # until the next address is tried beside it (RFC 8305 §5)
OUTBOUND_CONNECT_SECONDS: Final = 10.0  # for all of them
OUTBOUND_CLOSE_SECONDS: Final = 30.0  # for a host to take the last bytes after the client has closed
# After an answer with a port we send nothing until the client has sent something, or for this long: libssh 0.10 and 0.11
# read the port from the last packet that they received.
ANSWER_PAUSE_SECONDS: Final = 0.1
KEY_EXCHANGES_TOGETHER: Final = 16  # of one connection that may follow each other at once; each costs 2 ms of a core
# Past KEY_EXCHANGES_TOGETHER. Further exchanges wait, and the gateway does not read from the connection meanwhile.
KEY_EXCHANGES_PER_SECOND: Final = 4.0
# Key exchanges of all connections of an identity: 2 % of a core. As many may follow each other at once as it may have
# connections, because connections that were made together exchange keys together.
KEY_EXCHANGES_OF_IDENTITY_PER_SECOND: Final = 8.0
HOST_KEYS_PROVED: Final = 8  # in one request of a client; each costs a signature (2 ms for RSA)
HOST_KEY_PROOFS: Final = 4  # such requests of one connection; stock ssh makes one
KEXINIT_WAIT_SECONDS: Final = 0.25  # for which our first KEXINIT waits for the client's
UNSENT_BYTES: Final = 64 * KIB  # of one SSH connection in the kernel (TCP_NOTSENT_LOWAT): small answers wait behind it
STUCK_SECONDS: Final = 30.0  # after which a key exchange or a write without progress ends the connection
UNREAD_BYTES: Final = 256 * KIB  # stop reading from a client that sends requests without reading the replies
DEFERRED_PACKETS: Final = 4096  # answers that wait for the end of a key exchange; past it the connection ends
# For which the answer to a refused forward is held, so that a session can write the reason before ssh reads the answer.
REASON_SECONDS: Final = 0.5
READ_SECONDS: Final = 0.15  # from the written reason to the answer: ssh with ExitOnForwardFailure exits at the answer
REASON_BYTES: Final = 400  # of a DISCONNECT's text that ssh prints
# For which visitors of a new forward wait for the session's words. Of programs other than stock ssh, a forward asked for
# this soon after the log-in belongs to the command that has logged in.
HOLD_SECONDS: Final = 0.5
ALIVE_SECONDS: Final = 1.0  # within which the older holder of an address must answer to count as alive
FLAP_ALIVE_SECONDS: Final = 2.0  # a takeover counts as flapping when the loser answers within this
FLAP_TAKEOVERS: Final = 3  # counted takeovers in FLAP_SECONDS after which the holder stays
FLAP_SECONDS: Final = 60.0  # for which a takeover counts
TAKEOVER_DRAIN_SECONDS: Final = 5.0  # for visitors of a tunnel that was taken over to finish
LEAVE_SECONDS: Final = 2.0  # after its session has ended, before a client that stays is disconnected
HOST_BYTES: Final = 512  # longest host or path in a forward request
REFUSALS_REMEMBERED: Final = 20  # per identity, shown by `ssh gw`
OPENS_TOLD: Final = 20  # targets of refused opens (-L, -D, -J, -W) that the sessions of one connection show
REFUSAL_IDENTITIES: Final = 4096  # identities whose refusals are remembered
BANNER_IDENTITIES: Final = 4096  # whose last warning about their names is remembered
OUTCOMES_REMEMBERED: Final = 100  # of a connection's forwards, for a session that opens later
TARGET_NOTE_SECONDS: Final = 5.0  # between two notes in a session that the local service cannot be reached
TARGET_QUIET_SECONDS: Final = 10.0  # after that, without a live last line: ssh writes a line of its own at each visit
SESSION_WINDOW_BYTES: Final = 64 * KIB  # input that a client may send ahead; a session reads only keys
SESSION_BACKLOG_BYTES: Final = 256 * KIB  # text waiting for one terminal; past it lines are dropped and counted
FIRST_ROWS: Final = 20  # of a session's first lines, which a terminal gets again in colour: they must still be in sight
LIVE_LINE_SECONDS: Final = 0.25  # between two writes of a terminal's last line, and of its title
TERMINAL_COLUMNS: Final = (50, 500)  # a narrower terminal wraps lines; a wider one has room to spare
PIPE_COLUMNS: Final = 100  # of a sentence on stdout without a terminal; a longer one is broken
TERM_BYTES: Final = 64  # of the terminal's name (TERM)
KEYS_PER_SECOND: Final = 10  # that the sessions of one connection obey: statistics of 16 tunnels take 0.5 ms
TYPED_BYTES: Final = 1 * KIB  # of one packet of input in which keys are looked for: a whole one can take 3 ms
ESCAPE_SEQUENCE_BYTES: Final = 32  # of one from the keyboard that comes in pieces; longer ones are read as keys
TIMES_REMEMBERED: Final = 500  # durations of a session's last requests: sorting them for p50 takes 30 µs
LASTING_REMEMBERED: Final = 1024  # WebSockets and event streams of one session that are open

# --- names
NAMES_PER_IDENTITY: Final = 20  # names and ports that are reserved for it
NAMES_PER_IDENTITY_ON_LOOPBACK: Final = 200  # the same on a gateway for one machine, whose people share with nobody
NAMES_NEAR_LIMIT: Final = 0.8  # of an identity's names; from here on the login banner warns
NAMES_KEEP_SECONDS: Final = 30 * 86400.0  # for which a reservation outlives its last use
NAMES_USED_AFTER_SECONDS: Final = 60.0  # after which a name that is up counts as used, with a visitor at once
NAMES_UNUSED_KEEP_SECONDS: Final = 3600.0  # for which a reservation is kept that was never used
NAMES_REST_SECONDS: Final = 7 * 86400.0  # after that, for which only its last owner may take it up again
NAMES_RESERVE_AFTER_SECONDS: Final = 600.0  # of use before a gateway for anyone reserves a name
NAMES_PER_NETWORK_PER_DAY: Final = 10  # new reservations from one IPv4 /24 or IPv6 /64
# After a larger step of the wall clock nothing is pruned for an hour: the clock may be wrong.
CLOCK_STEP_SECONDS: Final = 3600.0
NAMES_NETWORK_SECONDS: Final = 86400.0  # the day over which new reservations per network are counted

# --- TLS
TLS_HANDSHAKE_SECONDS: Final = 10.0
FIRST_BYTES_SECONDS: Final = 2.0  # silence on the HTTPS port that means "SSH client waiting for our banner"
LEAF_CACHE: Final = 1024  # certificates of live names made by the local CA
IDENTIFY_SECONDS: Final = 10.0  # from the accept to enough bytes to tell SSH, TLS and HTTP apart
# Connections before the end of their first bytes or TLS handshake; past it the oldest closes.
UNIDENTIFIED: Final = 2048
CERTIFICATE_POLL_SECONDS: Final = 3.0  # between two scans of the folder of certificates
CERTIFICATE_PAIRS: Final = 4096  # pairs read from it
CERTIFICATE_BYTES: Final = 1 * MIB  # one file of a pair
LOCAL_CA_DAYS: Final = 3650
LEAF_DAYS: Final = 397  # the most that browsers accept (CA/Browser Forum ballot SC31: 398)
LEAF_RENEW_DAYS: Final = 30  # before its end a leaf is replaced
BACKDATE_SECONDS: Final = 86400.0  # visitors' clocks may be behind ours

# --- accepting
ACCEPT_BURST: Final = 64  # connections taken per wake-up of a listener, so that one port cannot starve the loop
PORT_OWNERS_PACE_SECONDS: Final = 10.0  # between two look-ups of a port's owner: each reads all of /proc
PORT_OWNER_SECONDS: Final = 60.0  # between two look-ups of the same port
PORT_OWNERS_REMEMBERED: Final = 256  # ports that were looked up; past it the oldest look-up is forgotten
DESCRIPTORS_PAUSE: Final = 0.90  # of RLIMIT_NOFILE in use: every listener stops accepting
SOURCES_REMEMBERED: Final = 4096  # peer addresses, each with its source
DESCRIPTORS_SAMPLE: Final = 16  # every so many new connections, the number of open descriptors is read
# Accepted before a check, by all listeners together: DESCRIPTORS_SAMPLE of each of many ports.
UVLOOP_BURST: Final = 256
DESCRIPTORS_RESUME: Final = 0.85  # accepting begins again; from here on a newcomer displaces a visitor, or is refused
DESCRIPTORS_ENOUGH: Final = 0.80  # below this newcomers displace no visitor
DESCRIPTORS_LOOK_SECONDS: Final = 0.25  # between two counts of open descriptors, while they are short
DESCRIPTORS_LOOK_LEAST_SECONDS: Final = 0.02  # the same under a low limit: 5 % of 240 are used up in no time
DESCRIPTOR_LOOK_SECONDS: Final = 2e-5  # added for each descriptor of the limit: Linux before 6.2 counts them one by one
DESCRIPTORS_QUIET_SECONDS: Final = 3.0  # without another stop, before the shortage counts as over
ACCEPT_PAUSE_SECONDS: Final = 0.1  # after EMFILE and its like; doubles up to ACCEPT_PAUSE_MAX_SECONDS
ACCEPT_PAUSE_MAX_SECONDS: Final = 1.0
# TCP connections, or HTTP requests in progress; more get 503. A stock client usually has 1,024 descriptors, and answers
# with an error of its own when they are used up.
VISITORS_PER_TUNNEL: Final = 900
# Visitors of a TCP port from its owner's own origin (`limiters.origins`). Where the target is a port of this gateway,
# visitors come back in from there and fill these places alone.
VISITORS_FROM_CLIENT: Final = 128
# By `limiters.shortage.Standing`: for how long a visitor may stay without moving while places are short and a newcomer
# wants its place. An upload may pause for 4 s, as phones do.
PLACE_PATIENCE_SECONDS: Final = (0.0, 5.0, 20.0, 5.0, 60.0)
PLACE_MOVES_RATE: Final = 1 * KIB  # bytes/s that count as moving while places are short: half the rate of a slow phone
PLACE_LOOK_SECONDS: Final = 0.5  # between two checks of which visitors move; a younger visitor is not judged
PLACES_LOOKED_AT: Final = 4096  # in one check, about 10 ms
PLACES_CHECKED: Final = 32  # candidates that are checked for one newcomer; each may have moved since the last check
# Of a tunnel's places for visitors. Once visitors of one standing hold this many and stall by their own doing, that
# standing has no patience.
STALLED_SHARE: Final = 1 / 4
TRIAL_SHARE: Final = 8  # one place in so many goes to requests that are answered soon
TRIAL_SECONDS: Final = 0.02  # for such a request to be answered, before a newcomer may have its place
VISITOR_KEEPALIVE_SECONDS: Final = 60  # TCP keepalive: a visitor that vanished is noticed after about twice this
VISITOR_KEEPALIVE_PROBES: Final = 4

# --- process
ACCEPT_BACKLOG: Final = 4096
DRAIN_SECONDS: Final = 30.0
VISITS_GATHERED: Final = 256  # finished visits that are counted and logged together
VISITS_GATHER_SECONDS: Final = 0.01  # for which visits gather at most; one by one, each costs 2 µs more
EVENT_RING: Final = 1000  # last events kept for `ferry events`
EVENT_SUBSCRIBERS: Final = 32
EVENT_QUEUE: Final = 1000  # per subscriber; a slow one loses the oldest, and gets their number
LOG_QUEUE: Final = 10_000  # lines waiting for the log writer; past it lines are dropped and counted
LOG_BATCH: Final = 256  # lines written at once
LOG_GATHER_SECONDS: Final = 0.02  # for which lines gather before they are written together
LOG_VISITS_PER_SECOND: Final = 100  # lines about visits; a line costs 12 µs and some 300 bytes
LOG_VISITS_PER_TUNNEL: Final = 20  # lines a second about visits of one tunnel; the event `visits` sums up the others
LOG_LINES_PER_SOURCE: Final = (
    5  # lines a second of one event that one source causes: a connection, tunnel, identity or address
)
LOG_SOURCES_TOGETHER: Final = 10  # times LOG_LINES_PER_SOURCE: lines a second of one event by all sources
LOG_BURST_SECONDS: Final = 20.0  # the unused budget of this time may be used at once
LOG_SOURCES: Final = 1024  # sources remembered for each event; past it the one that was quiet longest is forgotten
LOG_SOURCES_SHOWN: Final = 256  # sources counted between two summaries; more are in the total alone
LOG_SUMMARY_SECONDS: Final = 1.0  # between two sums of visits
LOG_OMITTED_SECONDS: Final = 10.0  # between two summaries of other lines that were left out
VISITS_SUMMED: Final = 50  # tunnels that have a summary of their own; the others share one
TRACEBACKS_PER_SECOND: Final = 0.1  # of one place in the code, each of some 4 KB; past it a line names the error alone
TRACEBACKS_TOGETHER: Final = 0.5  # tracebacks a second, of all places in the code
TRACEBACK_BURST_SECONDS: Final = 60.0  # the unused budget of this time may be used at once
LOG_FIELD_CHARS: Final = 500  # one field of one line, before `names.printable` escapes it
LOG_TRACEBACK_LINES: Final = 60  # the last lines of a traceback are kept: they name the error
LOG_CLOSE_SECONDS: Final = 2.0  # at the end, for lines that still wait for a slow reader
TRIM_LOOK_SECONDS: Final = 2.0  # between two measurements of free memory: some 0.2 ms in a thread
TRIM_BYTES: Final = 8 * MIB  # freed since the last time; less is not worth giving back to the system
TRIM_QUIET: Final = 0.25  # of one core; below it the delay for allocating threads, 0.25 ms per MiB, goes unnoticed
TRIM_PATIENCE_SECONDS: Final = 30.0  # on a busy gateway memory is trimmed after this
BACKUP_MANIFEST_BYTES: Final = 64 * KIB  # the list of files of a backup; six files take 400 bytes
CONFIG_MISTAKES: Final = 50  # lines of a configuration file that are no TOML and are reported at once
RELOAD_MISTAKES: Final = 20  # lines of key files that are refused and shown after `ferry reload`
LAG_SAMPLE_SECONDS: Final = 0.5  # between two measurements of the event loop's lag
LAG_REPORT_SECONDS: Final = 0.25  # a longer lag is an event (`loop.lag`)
CONTROL_RETRY_SECONDS: Final = 5.0  # between two tries to make the control socket on a disk that takes no new file
CONTROL_ANSWER_SECONDS: Final = 10.0  # for which `ferry status` and its like wait for the gateway
CONSOLE_CLOSE_SECONDS: Final = 2  # for answers in flight when the control socket closes; whole seconds (uvicorn)
STORE_QUEUE: Final = 10_000  # rows about SSH connections waiting to be written
STORE_WAITING: Final = 20_000  # transactions waiting for the database; past it new ones fail at once
STORE_BATCH: Final = 500  # transactions in one commit, about 0.2 s of work
STORE_BUSY_SECONDS: Final = 5.0  # for which another process may hold the database before a write fails
STORE_WAL_BYTES: Final = 64 * MIB  # the size of SQLite's write-ahead log after a checkpoint
AUDIT_QUEUE: Final = (
    20_000  # records of the audit log waiting to be written, 0.5 KB each; past it they are lost, and counted
)
AUDIT_FIELD_CHARS: Final = 300  # one text of a record, before `names.printable` escapes it
AUDIT_KEEP_SECONDS: Final = 365 * 86400.0  # for which records are kept
AUDIT_RECORDS: Final = 500_000  # that are kept at most, some 200 MB; those of whoever has most are dropped first
AUDIT_RUN: Final = 10  # records of a flood that follow one another, at least, for their gap to be worth its record
AUDIT_RECORDS_LEAST: Final = 1_000  # fewer would not show a day
AUDIT_PRUNED: Final = 5_000  # records that are dropped in one transaction: 10 ms, in many short runs 60
AUDIT_PIECE: Final = 5_000  # records that a reader looks at in one transaction: 5 ms
AUDIT_LINE_BYTES: Final = 16 * KIB  # one record on one line: nine texts, each character six bytes at most
AUDIT_SHOWN: Final = 10_000  # records in one answer to `ferry audit`
AUDIT_FOLLOWERS: Final = 8  # readers that follow new records
AUDIT_FILE_PIECE: Final = 500  # records that are written to `audit.file` at once
# Records a second that people who have not logged in may cause, by source and all together. The unused ones of
# AUDIT_STRANGERS_SECONDS may be used at once; past it one record a minute has their number.
AUDIT_STRANGERS_PER_SOURCE: Final = 0.1
AUDIT_STRANGERS: Final = 1.0
AUDIT_STRANGERS_SECONDS: Final = 200.0
# The same for what each identity does (log-ins, forwards, connections, and their ends), and all of them: a thousand machines
# may come back at once. One that goes on without a pause fills AUDIT_RECORDS in six days.
AUDIT_PER_IDENTITY: Final = 1.0
AUDIT_PER_IDENTITY_SECONDS: Final = 1200.0
AUDIT_IDENTITIES: Final = 100.0
AUDIT_IDENTITIES_SECONDS: Final = 600.0
# The same for what each identity is refused, and all of them.
AUDIT_REFUSALS_PER_IDENTITY: Final = 0.1
AUDIT_REFUSALS: Final = 10.0
AUDIT_REFUSALS_SECONDS: Final = 2000.0
AUDIT_SUMS: Final = 16  # sums of single identities between two times below; the others have one for each sort
AUDIT_SUM_SECONDS: Final = 60.0  # between two sums of events that got no record of their own
PENDING_RELEASES: Final = 65_536  # tunnels closed while the database takes no writes; their leases are released later
CONNECTIONS_KEEP_SECONDS: Final = 90 * 86400.0  # for which rows about ended SSH connections are kept
HOSTS_SEEN: Final = 100_000  # hostnames of reservations and tunnels, remembered for certificates
# For which an identity without a name or a reservation is kept, where names.keep is less.
IDENTITIES_KEEP_SECONDS: Final = 86400.0
PRUNE_SECONDS: Final = 3600.0  # between two deletions of expired rows
RENEW_SECONDS: Final = 60.0  # between two heartbeats of the worker
# Look-ups of the names of clients' hosts at once, one thread each: past it clients are asked to come again
# (`access.use_dns`). A slow one keeps its place until the resolver gives up, and its reverse zone belongs to the client.
HOST_NAME_LOOKUPS: Final = 64
HOST_NAME_LOOKUPS_PER_NETWORK: Final = 4
HOST_NAME_KEEP_SECONDS: Final = 60.0  # for which the result of one counts for further log-ins from the address
HOST_NAMES: Final = 1024  # results that are kept
HOST_NAME_SECONDS: Final = 5.0  # for one of them, after which the client has no name
KEY_PERMITS: Final = 4096  # `permitlisten=` of one line of a key file, and `permitopen=`; as sshd
KEY_ENVIRONMENT: Final = 1024  # `environment=` of one line; as sshd
HOST_PATTERN_CHARS: Final = 1022  # of one entry of `from=`; as sshd
KEY_LINE_BYTES: Final = 16 * KIB  # of one line of a key file, as sshd had it (SSH_MAX_PUBKEY_BYTES)
# Each log-in looks at all lines of its key, without a proof, on the event loop: so these count for one key in one file.
KEY_LINES: Final = 64
KEY_LINES_BYTES: Final = 32 * KIB
KEY_FROM_ENTRIES: Final = 256  # of one `from=`
KEY_COMMENT_CHARS: Final = 80  # of the comment of a key: where the key has no name, the operator's lists show it
KEY_LINES_REFUSED: Final = 100  # lines of one file that are reported one by one; the others are counted
KEY_FILE_BYTES: Final = 4 * MIB  # one file of public keys, some 40,000; a larger one is reported and not read
POLICY_FILE_BYTES: Final = 4 * MIB  # of a policy file: 1,000 rules take some 150 KB
POLICY_LOOK_SECONDS: Final = 0.5  # between two looks at it; a change counts once two looks have found it
SETTINGS_CLIENTS: Final = 50  # clients that follow new settings in one turn of the loop, each with a few tunnels
POLICY_RULES: Final = 4096
POLICY_TESTS: Final = 4096  # `[[test]]` of one policy file
POLICY_TAGS: Final = 1024
POLICY_TAG_MEMBERS: Final = 20_000  # entries of one tag
POLICY_ENTRIES: Final = 1024  # of one other list of a policy file
POLICY_PATTERN_CHARS: Final = 253  # of one name or host there; as a hostname
POLICY_NAME_CHARS: Final = 64  # of the name of a rule
POLICY_RANGES: Final = 256  # different ranges of ports behind names: each decision looks at all of them
POLICY_COUNT: Final = 100_000  # of `most.forwards` and `most.names` of a rule
SSH_CERTIFICATE_BYTES: Final = 64 * KIB  # of a certificate in its wire form: those with many extensions have 10 KiB
SSH_CERTIFICATE_PRINCIPALS: Final = 256  # of one certificate; as sshd
SSH_CERTIFICATE_NAME_BYTES: Final = KIB  # of its key id, which is kept with its identity
KRL_SECTIONS: Final = 10_000  # of a binary list of revoked keys, with the parts of its sections
LINT_FILE_BYTES: Final = 16 * MIB  # of one file of `ferry lint` and `ferry import`: some 160,000 keys; more is refused
LINT_CONFIG_BYTES: Final = MIB  # of one sshd_config with all files that it includes: some 20,000 lines
LINT_CONFIG_FILES: Final = (
    1000  # that one sshd_config may include: files that include others twice double at each level
)
LINT_HOST_FILES: Final = (
    16  # of keys that `ferry lint sshd HOST` reads there; together they have LINT_FILE_BYTES at most
)
LINT_ERROR_BYTES: Final = 64 * KIB  # kept of what `ssh -v` says on standard error
LINT_CONNECT_SECONDS: Final = 10  # until a host of `ferry lint sshd HOST` answers
LINT_HOST_SECONDS: Final = 120.0  # for one command there, with the time in which a person types a passphrase
LINT_LOOK_SECONDS: Final = 0.1  # between two looks whether `ssh` has ended
LINT_TEXT_CHARS: Final = 10_000  # of one sentence of `ferry lint` and `ferry import`, which may list many lines
REVOKED_SECONDS: Final = 0.75  # a key is missed in its files or has another name: the time for one more reading
TICK_SECONDS: Final = 1.0  # between two checks for stuck connections and for writes that a full disk has delayed
