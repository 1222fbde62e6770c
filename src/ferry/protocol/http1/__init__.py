"""HTTP/1.1, bytes in and values out: it splits and checks heads, counts bodies, and serialises all heads anew.

Two independent parsers read each message. httptools (llhttp) reads the head alone. `octets`, `request` and `response`
check it against RFC 9110 and RFC 9112, and refuse anything that two readers could understand differently. The outgoing
head is serialised from the parsed values, and no byte of the original passes through. So a visitor and a local service
cannot disagree about where a message ends.
"""
