"""Who owns which address: reservations that last, leases with a generation, and the worker's own route table."""
