"""Every SSH client stack at hand does the whole job on a gateway of its own: `make interop`, docs/reference/clients.md."""
