"""What carries the bytes of an SSH connection: asyncssh's connection with bounds, its packets, and channels of our own.

It knows nobody above it: `connection` is told whom it serves and who hears of its log-in (`requests.ConnectionHandler`,
`connection.LoginEvents`), a channel whom it belongs to and what it sends through (`channel_state`).
"""
