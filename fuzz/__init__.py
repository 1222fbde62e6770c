"""What reads bytes of strangers, under values drawn at random: `make fuzz` looks for failures, `make test` replays."""
