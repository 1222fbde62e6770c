"""Reproducible comparisons with other systems: `make bench`. docs/performance.md says what is measured and how."""
