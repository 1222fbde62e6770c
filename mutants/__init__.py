"""Takes guards and bounds out of the code, one at a time, and shows those that no test notices: `make mutants`."""
