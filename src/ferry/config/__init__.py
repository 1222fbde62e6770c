"""The configuration: its model, the file and the environment that fill it, and the texts of its errors."""
