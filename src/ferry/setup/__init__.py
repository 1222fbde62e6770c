"""Checks this host for the operator's set-up: ports, DNS, readable paths, sshd, the systemd unit."""
