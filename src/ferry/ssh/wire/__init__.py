"""The transport of an SSH connection: asyncssh's connection with bounds, its packets, and our own channels.

It imports nothing above it. `connection` declares the interfaces that it calls: `requests.ConnectionHandler` for a
client's requests and `login_events.LoginEvents` for its log-in. `channel_state` declares a channel's owner and transport.
"""
