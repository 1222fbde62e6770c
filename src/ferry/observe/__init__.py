"""The output of the gateway: log lines, metrics and the stream of events. `report(event, …)` feeds all of them."""
