"""What is wrong with an sshd that keeps reverse tunnels: rules over its configuration and its key files. Values in, findings
out; `ferry.setup.sshd_files` reads, and `ferry lint sshd` prints."""
