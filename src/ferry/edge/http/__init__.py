"""The HTTP edge: visitors on one side, tunnels on the other, HTTP/1.1 between them."""
