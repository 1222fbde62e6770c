"""The configuration: its model, how the file and the environment fill it, and how mistakes in it are worded."""
