"""Sans-io codecs and grammars: bytes or text in, values out. Nothing here knows a socket, a loop or a clock."""
