"""The data that survives a restart: tables, queries and migrations. All access to the database goes through
`engine.Store`."""
