"""What an operator's set-up needs to know about this host: ports, DNS, readable paths, sshd, the systemd unit."""
