"""Sans-io codecs and grammars: bytes or text in, values out. Nothing here uses a socket, a loop or a clock."""
