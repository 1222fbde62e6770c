"""The composition: builds and runs one worker with its state folder, from start to end."""
