"""The asyncssh seam. Nothing else in Ferry imports asyncssh.

`hardening` bounds and speeds up asyncssh's connection, `requests` is what a client may ask it for, `channel` is our own
data channel beneath it, `front` listens and admits, `login` decides who somebody is, `client` is one connection,
`forwards` is the life of a forward, `sessions` is what people see.
"""
