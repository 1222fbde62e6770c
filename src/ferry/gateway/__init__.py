"""Builds one worker with its state folder, and runs it."""
