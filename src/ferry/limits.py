"""Every bound, with its unit. What an operator may change is a field of `ferry.config.model`, whose default is named here."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- HTTP/1.1, visitors (RFC 9112 §3 leaves these to the server; Caddy and Envoy use the same order of size)
REQUEST_LINE_BYTES: Final = 8 * KIB  # past it 414
HEAD_BYTES: Final = 16 * KIB  # request line and fields together, past it 431
HEAD_FIELDS: Final = 100  # past it 431
RESPONSE_HEAD_BYTES: Final = 64 * KIB  # origins send large cookies and policies
RESPONSE_HEAD_FIELDS: Final = 200
INTERIM_RESPONSES: Final = 16  # 1xx answers to one request; more is a flood
CHUNK_LINE_BYTES: Final = 256  # chunk size with its extensions
TRAILER_BYTES: Final = 8 * KIB  # read and dropped
HEAD_REMEMBERED_BYTES: Final = 2 * KIB  # a head up to this is remembered: the next is often the same
HEADS_REMEMBERED: Final = 256  # of all visitors, for a second
HEAD_SECONDS: Final = 10.0  # from the first byte of a head (or the accept) to its end, in all
KEEPALIVE_SECONDS: Final = 75.0  # an idle visitor connection between two requests
BODY_MIN_RATE: Final = 240  # bytes/s a request's body must come at (as Kestrel); 0 asks for nothing
READ_MIN_RATE: Final = 240  # bytes/s a visitor must read at while what we hold for it is over the high-water mark
PACE_SECONDS: Final = 20.0  # the window over which both are measured
CROWDED_PACE_SECONDS: Final = 5.0  # the same, where a tunnel has more than half of the visitors that it may have
CONNECTIONS_PER_VISITOR: Final = 512  # HTTP and TCP ports, from one IPv4 address or IPv6 /64; loopback is not counted
LOOP_PASSES: Final = 8  # times that a request may go through tunnels of this gateway, each another; then 508
PIPELINE_BYTES: Final = 64 * KIB  # read ahead while a request is being answered; then reading pauses

# --- the byte path
HIGH_WATER_BYTES: Final = 256 * KIB  # one direction of one stream; past it the writer is paused
LOW_WATER_BYTES: Final = 64 * KIB
VISITOR_HIGH_WATER_BYTES: Final = 64 * KIB  # what waits for one visitor; past it its stream is not read
VISITOR_LOW_WATER_BYTES: Final = 16 * KIB
VISITOR_UNSENT_BYTES: Final = 128 * KIB  # of one visitor's connection in the kernel (TCP_NOTSENT_LOWAT)
CHANNEL_WINDOW_BYTES: Final = 768 * KIB  # what a client may send ahead on one channel (RFC 4254 §5.2): with
# HIGH_WATER_BYTES this is what a visitor costs who stops reading, 1 MiB
NEAR_SECONDS: Final = 0.002  # a client that answers the open of a channel this soon is near
NEAR_WINDOW_BYTES: Final = 256 * KIB  # CHANNEL_WINDOW_BYTES for it: enough for 1 Gbit/s, and small answers wait less
WINDOWS_BYTES: Final = 8 * MIB  # all windows of one connection: the more channels, the smaller each one's window. Stock
# ssh copies all that it has not sent for each packet that it adds: with 64 MiB it did nothing else for seconds
LEAST_WINDOW_BYTES: Final = 8 * KIB  # of one channel, however many there are
CHANNEL_PACKET_BYTES: Final = 32 * KIB  # RFC 4253 §6.1: every implementation takes this much
LEAST_PACKET_BYTES: Final = 256  # a channel whose peer takes less is refused: each packet costs as much as a large one
SMALL_PIECE_BYTES: Final = 4 * KIB  # data that waits in smaller pieces is joined: an object takes some 50 bytes beside
TURN_PACKETS: Final = 256  # taken from one connection, or sent to it as data, before the others have their turn (~2 ms)
SMALL_WRITE_BYTES: Final = 512  # a smaller write to a visitor that waits takes 750 bytes beside its data (uvloop)
SMALL_WRITES: Final = 128  # of such waiting writes; past it the tunnel waits until the visitor has taken everything
STREAM_OPEN_SECONDS: Final = 30.0  # from CHANNEL_OPEN to its answer
LOCAL_TLS_SECONDS: Final = 10.0  # for a local service's TLS handshake (`-R 443:...`), once its stream is open
POOL_IDLE_STREAMS: Final = 64  # idle channels kept per tunnel
POOL_IDLE_SECONDS: Final = 4.0  # below the 5 s after which Node closes a quiet connection
HALF_CLOSED_SECONDS: Final = 30.0  # a visitor that has sent end-of-file gets its answer if bytes flow this often
CLOSE_SECONDS: Final = 75.0  # to read the last buffered bytes of an answer after which we close
UNSENT_VISITORS: Final = 32  # of a tunnel, from which on what the kernel has not sent for each of them is bounded
VISITORS_UNSENT_BYTES: Final = 8 * MIB  # for all of them, each the same; past it no more is taken from the service
VISITOR_UNSENT_LEAST_BYTES: Final = 16 * KIB  # for one, however many they are; a shorter answer is never looked at
UNSENT_LOOK_BYTES: Final = 64 * KIB  # of an answer, between two looks whether there are so many visitors by now
UNSENT_LOOK_SECONDS: Final = 0.004  # until the next look at such a visitor: 16 KiB each 4 ms are 32 Mbit/s
UNSENT_LOOK_MOST_SECONDS: Final = 0.5  # to which that doubles, while the visitor does not read
LEFT_LOOK_SECONDS: Final = 1.0  # between two looks whether a visitor that is not read from has gone: the loop
# watches its socket for nothing, and a look costs 2 µs
RETRY_AFTER_SECONDS: Final = 5  # what a 503 asks for
EDGE_TICK_SECONDS: Final = 1.0  # how often deadlines of visitors and idle streams are looked at
REQUESTS_IN_A_PIECE: Final = 32  # that a visitor has sent ahead and that are answered on the spot: 1 ms
CHUNKS_IN_A_PIECE: Final = 128  # of a body's lines that are decoded at once (9 µs each): what follows waits its turn
PIECES_IN_A_TURN: Final = 4  # of such work, over all visitors: the next ones are done in the loop's next turn
PARTED_IN_A_TURN: Final = 8  # visitors whose time is up; the next so many after
PARTED_PAUSE_SECONDS: Final = 0.008  # 2 ms: the reading that an attack begins anew meanwhile took others 50 ms more
LINGER_SECONDS: Final = 2.0  # how long a refused visitor is read from before the close (RFC 9112 §9.6)

# --- SSH
HANDSHAKES: Final = 200  # connections that have not authenticated, in all
HANDSHAKES_PER_NETWORK: Final = 30  # of one IPv4 /24 or IPv6 /64
HANDSHAKE_PATIENCE_SECONDS: Final = (2.0, 5.0, 20.0)  # before a silent handshake, one that has exchanged keys, and one
# that has offered a good key may have to go for a newcomer, when all places are taken
HANDSHAKES_NOTE_SECONDS: Final = 60.0  # between two log lines about handshakes that were refused or had to go
REFUSED_LINGERING: Final = 256  # refused connections that are kept until they have read why; past it the oldest goes
KEY_GRACE_SECONDS: Final = 20.0  # until a key is acceptable
LOGIN_GRACE_SECONDS: Final = 120.0  # until somebody has typed a passphrase or touched a token
AUTH_TRIES: Final = 6  # per connection, as OpenSSH MaxAuthTries
AUTH_REQUESTS: Final = 64  # of one connection until it has logged in, refused or not: a question is answered for
# nothing, and a signature that the next request supersedes costs 0.8 ms and a transaction
PENALTY_NOTHING_SECONDS: Final = 1.0  # for one who leaves before a log-in (sshd: noauth)
PENALTY_GARBAGE_SECONDS: Final = 2.0  # for bytes that are not SSH
PENALTY_KEYS_SECONDS: Final = 5.0  # for a connection that ends after refused keys (sshd: authfail)
PENALTY_GRACE_SECONDS: Final = 10.0  # for a log-in that was not ended in time (sshd: grace-exceeded)
PENALTY_THRESHOLD_SECONDS: Final = 15.0  # collected, before an address is blocked (sshd: min)
PENALTY_MAX_SECONDS: Final = 600.0  # longest block (sshd: max)
PENALTY_SOURCES: Final = 65_536  # addresses remembered; past it the one with the least time left goes
LANE_PACE_SECONDS: Final = 1.0  # between two handshakes of a blocked address
LANE_SECONDS: Final = 10.0  # for a whole log-in from a blocked address
KEEPALIVE_INTERVAL_SECONDS: Final = 15.0
KEEPALIVE_COUNT: Final = 3
FORWARDS_PER_CONNECTION: Final = 16
FORWARDS_PER_IDENTITY: Final = 32
CHANNELS_PER_CONNECTION: Final = 1024
SESSIONS_PER_CONNECTION: Final = 10  # as OpenSSH MaxSessions
CONNECTIONS_PER_IDENTITY: Final = 64
GLOBAL_REQUESTS_PER_SECOND: Final = 50
GLOBAL_REQUESTS_WAITING: Final = 64  # requests, each up to HOST_BYTES, that wait for one being decided; past it refused
CHANNEL_REQUESTS_PER_SECOND: Final = 200  # of one connection, with opens of sessions: ten sessions at once, each with a
# terminal, a command and the environment that distributions send; past it they are refused
WORDS_CHARS: Final = 4096  # what may follow the host; looking for words costs time that grows with it
OWN_PORT_STREAMS: Final = 8  # streams of a TCP port up to which its own client may come back to it through `-L`
ANSWER_PAUSE_SECONDS: Final = 0.1  # nothing is sent after an answer with a port until the client has sent something, or
# for this long: libssh 0.10 and 0.11 take the port from whatever packet they have read last
KEY_EXCHANGES_TOGETHER: Final = 16  # of one connection that may follow each other at once; each costs 2 ms of a core
KEY_EXCHANGES_PER_SECOND: Final = 4.0  # after that: the next one waits, and nothing is read meanwhile
KEY_EXCHANGES_OF_IDENTITY_PER_SECOND: Final = (
    8.0  # over all its connections: 2 % of a core. So many may follow each other
)
# at once as it may have connections, for those that were made together exchange keys together
KEXINIT_WAIT_SECONDS: Final = 0.25  # how long our first KEXINIT waits for the client's
UNSENT_BYTES: Final = 64 * KIB  # of one SSH connection in the kernel (TCP_NOTSENT_LOWAT): small answers wait behind it
STUCK_SECONDS: Final = 30.0  # a key exchange or a write that has not moved for this long ends the connection
UNREAD_BYTES: Final = 256 * KIB  # of answers that a client does not read; then it is not listened to either
DEFERRED_PACKETS: Final = 4096  # answers that wait for the end of a key exchange; past it the connection ends
HOLD_SECONDS: Final = 0.5  # how long visitors wait for the session's words after a forward was granted; a forward
# that is asked for this soon after the log-in belongs to the command that has logged in
ALIVE_SECONDS: Final = 1.0  # an older holder that shows within this that it is there is alive
FLAP_ALIVE_SECONDS: Final = 2.0  # a takeover counts as flapping when its loser answers within this
FLAP_TAKEOVERS: Final = 3  # counted takeovers in a minute before the holder stays
FLAP_SECONDS: Final = 60.0
LOSER_DRAIN_SECONDS: Final = 5.0  # visitors of a tunnel that was taken over may finish in this time
LEAVE_SECONDS: Final = 2.0  # a client whose session has ended is disconnected after this, if it has not gone
HOST_BYTES: Final = 512  # longest host or path that a forward request may name
REFUSALS_REMEMBERED: Final = 20  # per identity, shown by `ssh gw`
REFUSAL_IDENTITIES: Final = 4096  # identities whose refusals are remembered
OUTCOMES_REMEMBERED: Final = 100  # of a connection's forwards, for a session that opens later
TARGET_NOTE_SECONDS: Final = 5.0  # between two notes in a session that the local target refuses
SCREEN_WINDOW_BYTES: Final = 64 * KIB  # what a client may type ahead; nothing here reads more than keys
SESSION_BACKLOG_BYTES: Final = 256 * KIB  # text waiting for one terminal; past it lines are dropped and counted

# --- names
NAMES_PER_IDENTITY: Final = 20
NAMES_KEEP_SECONDS: Final = 30 * 86400.0
NAMES_REST_SECONDS: Final = 7 * 86400.0
NAMES_RESERVE_AFTER_SECONDS: Final = 600.0
NAMES_PER_NETWORK_PER_DAY: Final = 10
CLOCK_STEP_SECONDS: Final = 3600.0  # the wall clock was set by more: nothing is forgotten in that hour, it may be wrong
NAMES_NETWORK_SECONDS: Final = 86400.0  # the day over which reservations per network are counted

# --- TLS
TLS_HANDSHAKE_SECONDS: Final = 10.0
FIRST_BYTES_SECONDS: Final = 2.0  # silence on the HTTPS port that means "SSH client waiting for our banner"
LEAF_CACHE: Final = 1024  # certificates of live names made by the local CA
IDENTIFY_SECONDS: Final = 10.0  # from the accept to enough bytes to tell SSH, TLS and HTTP apart
UNIDENTIFIED: Final = 2048  # connections whose protocol or TLS handshake is not settled; past it the oldest goes
CERTIFICATE_POLL_SECONDS: Final = 3.0  # how often the folder of certificates is looked at
CERTIFICATE_PAIRS: Final = 4096  # pairs read from it
CERTIFICATE_BYTES: Final = 1 * MIB  # one file of a pair
LOCAL_CA_DAYS: Final = 3650
LEAF_DAYS: Final = 397  # the most that browsers take (CA/Browser Forum ballot SC31: 398)
LEAF_RENEW_DAYS: Final = 30  # a leaf this close to its end is made anew
BACKDATE_SECONDS: Final = 86400.0  # visitors' clocks may be behind ours

# --- accepting
ACCEPT_BURST: Final = 64  # connections taken per wake-up of a listener, so that one port cannot starve the loop
PORT_OWNERS_PACE_SECONDS: Final = 10.0  # between two look-ups of whose a port is: each reads all of /proc
PORT_OWNER_SECONDS: Final = 60.0  # between two of the same port
PORT_OWNERS_REMEMBERED: Final = 256  # ports that were asked about; past it the longest ago is forgotten
DESCRIPTORS_PAUSE: Final = 0.90  # of RLIMIT_NOFILE in use: every listener stops accepting
SOURCES_REMEMBERED: Final = 4096  # peer addresses, with what they are counted for
DESCRIPTORS_SAMPLE: Final = 16  # of so many new connections one shows how many descriptors are open
UVLOOP_BURST: Final = 256  # accepted before a look, by all listeners together: DESCRIPTORS_SAMPLE of each of many ports
DESCRIPTORS_RESUME: Final = 0.85  # and begins again; from here on a newcomer takes somebody's place, or is refused
DESCRIPTORS_ENOUGH: Final = 0.80  # and below this no more
DESCRIPTORS_LOOK_SECONDS: Final = 0.25  # how often open descriptors are counted, while they are short
DESCRIPTORS_LOOK_LEAST_SECONDS: Final = (
    0.02  # the same where there may be few of them: 5 % of 240 are used up in no time
)
DESCRIPTOR_LOOK_SECONDS: Final = 2e-5  # in between, for each that there may be: Linux before 6.2 counts them one by one
DESCRIPTORS_QUIET_SECONDS: Final = 3.0  # without another such stop, before the shortage counts as over
ACCEPT_PAUSE_SECONDS: Final = 0.1  # after EMFILE and its like; doubles up to the next line
ACCEPT_PAUSE_MAX_SECONDS: Final = 1.0
VISITORS_PER_TUNNEL: Final = 900  # TCP connections, or HTTP requests in progress; past it 503. A stock client has 1,024
# descriptors as a rule, and answers with an error of its own when they are used up
VISITORS_FROM_CLIENT: Final = (
    128  # of a TCP port, from where its owner has a connection (`limiters.origins`). Where the
)
# target is a port of this gateway, the visitors come back in from there, and fill these alone
PLACE_PATIENCE_SECONDS: Final = (
    0.0,
    5.0,
    20.0,
    5.0,
    60.0,
)  # by `limiters.shortage.Standing`: the longest a visitor may
# stay without moving, where places are short and a newcomer wants its place. An upload may pause for 4 s, as phones do
PLACE_MOVES_RATE: Final = 1 * KIB  # bytes/s that count as moving where places are short: half of what a slow phone has
PLACE_LOOK_SECONDS: Final = 0.5  # between two looks at who moves; what has not been there for so long is not judged
PLACES_LOOKED_AT: Final = 4096  # in one look, about 10 ms
PLACES_CHECKED: Final = 32  # candidates for one newcomer that turn out to have moved since the last look
STALLED_SHARE: Final = 1 / 4  # of all places: held by so many of one standing who could move and do not, that standing
# has no patience left
TRIAL_SHARE: Final = 8  # one place in so many goes to requests that are answered soon
TRIAL_SECONDS: Final = 0.02  # for such a request to be answered, before a newcomer may have its place
VISITOR_KEEPALIVE_SECONDS: Final = 60  # TCP keepalive: a visitor that vanished is noticed after about twice this
VISITOR_KEEPALIVE_PROBES: Final = 4

# --- process
ACCEPT_BACKLOG: Final = 4096
DRAIN_SECONDS: Final = 30.0
DRAIN_LOOK_SECONDS: Final = 0.05  # how often a stopping gateway looks whether ports and aliases are still in use
VISITS_GATHERED: Final = 256  # finished visits that are counted and logged together
VISITS_GATHER_SECONDS: Final = 0.01  # and how long they gather at most: one by one each costs 2 µs more
EVENT_RING: Final = 1000  # last events kept for `ferry events`
EVENT_SUBSCRIBERS: Final = 32
EVENT_QUEUE: Final = 1000  # per subscriber; a slow one loses the oldest and is told how many
LOG_QUEUE: Final = 10_000  # lines waiting for the log writer; past it lines are dropped and counted
LOG_BATCH: Final = 256  # lines written at once
LOG_GATHER_SECONDS: Final = 0.02  # how long lines gather before they are written together
LOG_VISITS_PER_SECOND: Final = 100  # lines about visits; a line costs 12 µs and some 300 bytes
LOG_VISITS_PER_TUNNEL: Final = 20  # the same of one tunnel; past it `visits` sums them up
LOG_LINES_PER_SOURCE: Final = 5  # lines a second of one kind that one connection, tunnel or address causes
LOG_SOURCES_TOGETHER: Final = 10  # times that, of one kind by all: an attacker may have many addresses
LOG_BURST_SECONDS: Final = 20.0  # what was not used of a budget in this time may be used at once
LOG_SOURCES: Final = 1024  # sources remembered for each kind of event; past it the one that was quiet longest
LOG_SOURCES_SHOWN: Final = 256  # sources counted between two summaries; more are in their total alone
LOG_SUMMARY_SECONDS: Final = 1.0  # between two sums of visits
LOG_OMITTED_SECONDS: Final = 10.0  # between two summaries of other lines that were left out
VISITS_SUMMED: Final = 50  # tunnels that have a summary of their own; the others have one together
TRACEBACKS_PER_SECOND: Final = 0.1  # of one place in the code, each of some 4 KB; past it a line names the error alone
TRACEBACKS_TOGETHER: Final = 0.5  # of all places
TRACEBACK_BURST_SECONDS: Final = 60.0
LOG_FIELD_CHARS: Final = 500  # one field of one line, once escaped by `names.printable`
LOG_TRACEBACK_LINES: Final = 60  # the last lines of a traceback are kept: they name the error
LOG_CLOSE_SECONDS: Final = 2.0  # at the end, for lines that still wait for a slow reader
GIVE_BACK_LOOK_SECONDS: Final = 2.0  # how often free memory is looked at: some 0.2 ms in a thread
GIVE_BACK_BYTES: Final = 8 * MIB  # freed since the last time, to be worth giving back to the system
GIVE_BACK_QUIET: Final = 0.25  # of one core: below it nobody notices that who allocates waits 0.25 ms per MiB
GIVE_BACK_PATIENCE_SECONDS: Final = 30.0  # where it is never quiet, it is done after this
LAG_SAMPLE_SECONDS: Final = 0.5  # how often the event loop's lag is measured
LAG_REPORT_SECONDS: Final = 0.25  # a lag past this is an event (`loop.lag`)
CONTROL_RETRY_SECONDS: Final = 5.0  # between two tries to make the control socket on a disk that takes no new file
CONTROL_ANSWER_SECONDS: Final = 10.0  # how long `ferry status` and its like wait for the gateway
CONSOLE_CLOSE_SECONDS: Final = 2  # for answers in flight when the control socket closes; whole seconds (uvicorn)
STORE_QUEUE: Final = 10_000  # session rows waiting to be written
STORE_WAITING: Final = 20_000  # transactions waiting for the database; past it new ones fail at once
STORE_BATCH: Final = 500  # transactions in one commit, about 0.2 s of work
STORE_BUSY_SECONDS: Final = 5.0  # how long another process may hold the database before a write fails
STORE_WAL_BYTES: Final = 64 * MIB  # what is left of SQLite's write-ahead log after a checkpoint
ADDRESSES_OWED: Final = 65_536  # tunnels closed while the database takes no writes, to be given back later
SESSIONS_KEEP_SECONDS: Final = 90 * 86400.0  # how long rows about ended sessions are kept
HOSTS_SEEN: Final = 100_000  # hostnames remembered as somebody's, for certificates
IDENTITIES_KEEP_SECONDS: Final = (
    86400.0  # how long one without a name or a reservation is kept, where names.keep is less
)
PRUNE_SECONDS: Final = 3600.0  # between two looks for what nobody can ask for any more
RENEW_SECONDS: Final = 60.0  # between two heartbeats of the worker
KEY_FILE_BYTES: Final = 4 * MIB  # one file of public keys, some 40,000; a larger one is not read, and that is told
REVOKED_SECONDS: Final = 2.0  # that a key is missing from its files, or has another name there, before its
# connections end
TICK_SECONDS: Final = 1.0  # between two looks at what is stuck, and at what could not be written yet
