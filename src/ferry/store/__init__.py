"""What must survive a restart: tables, queries and migrations. `engine.Store` is the one door to the database."""
