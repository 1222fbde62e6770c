"""The asyncssh seam. Nothing else in Ferry imports asyncssh.

`wire` carries the bytes: asyncssh's connection with bounds, what a client may ask it for, and our own data channels.
`server` admits and keeps clients, `login` decides who somebody is, `client` is one connection, `tunnels` is the life
of a forward, `claims` claims its address, `session` is what people see.
"""
