"""The command line: one file per command, each with its implementation imported inside the function."""
