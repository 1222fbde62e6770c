"""TLS of the gateway's own ports: the operator's certificates, the local CA, and the choice between them."""
