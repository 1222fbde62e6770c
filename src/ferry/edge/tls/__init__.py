"""TLS of our own ports: the operator's certificates, the local CA, and the context that chooses among them."""
