"""Takes guards and bounds out of the code, one at a time, and shows which of them no test misses: `make mutants`."""
