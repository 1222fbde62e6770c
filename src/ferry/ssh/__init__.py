"""The asyncssh seam. Nothing else in Ferry imports asyncssh.

`wire` is the transport: asyncssh's connection with bounds, the requests of a client, and our own data channels.
`server` admits and keeps clients, `login` is one log-in, `client` one connection, `tunnels` opens and closes forwards,
`claims` claims their addresses, `session` shows people their forwards and visitors.
"""
