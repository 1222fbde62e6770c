"""What sessions show: plain lines in a pipe, objects with `--output json`, columns and a live last line in a terminal."""
