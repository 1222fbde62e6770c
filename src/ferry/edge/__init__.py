"""Where visitors come in: HTTP, TLS and TCP listeners, certificates, and the bridge into a tunnel."""
