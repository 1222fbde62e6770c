"""What the gateway tells: log lines, metrics and the stream of events. All of it comes from `report(event, …)`."""
