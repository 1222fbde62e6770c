"""HTTP/1.1 as bytes in, values out: heads split and judged, bodies counted, everything written anew.

A message passes two parsers that know nothing of each other. httptools (llhttp) reads the head alone; `octets`,
`request` and `response` then hold it against RFC 9110 and RFC 9112 and refuse whatever two readers could understand
in two ways. What leaves is serialised from the values: no byte of a head ever passes through, so a visitor and a local
service cannot disagree about where a message ends.
"""
