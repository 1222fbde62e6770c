"""The edges: HTTP, HTTPS and TCP listeners for visitors, certificates, and the bridge into a tunnel."""
