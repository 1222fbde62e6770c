"""The HTTP edge: it serves visitors over HTTP/1.1, each through the tunnel of the request's host."""
