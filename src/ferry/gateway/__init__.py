"""The composition: one worker and what it keeps, from its start to its end."""
