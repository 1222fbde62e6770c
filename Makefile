# The work is done by the scripts; each can be run by hand.
.POSIX:
.PHONY: help setup run test lint fuzz bench interop conformance mutants docs install uninstall clean

help:
	@echo "make run      set up (virtual environment, pinned dependencies) and start the gateway on loopback"
	@echo "make setup    the set-up alone"
	@echo "make test     install what the tests need, then lint and test"
	@echo "make lint     ruff, mypy --strict, import-linter"
	@echo "make fuzz     values at random for everything that reads strangers' bytes (10 minutes; scripts/fuzz --help)"
	@echo "make bench    Ferry beside other systems: a table of medians and ratios (about 50 minutes; scripts/bench --help)"
	@echo "make interop  SSH clients in six languages against Ferry (15 minutes, more at first; scripts/interop --help)"
	@echo "make conformance  Ferry beside sshd: cells drawn at random, and OpenSSH's own regression scripts (12 minutes; scripts/conformance --help)"
	@echo "make mutants  take guards out, one at a time, and see which no test notices; ONLY=ssh/tunnel (scripts/mutants --help)"
	@echo "make docs     write the generated reference pages anew"
	@echo "make install  as root: install to /opt/ferry, /etc/ferry, /var/lib/ferry"
	@echo "make uninstall  as root: remove that again; PURGE=yes removes /etc/ferry and /var/lib/ferry too"
	@echo "make clean    remove the virtual environment and caches; state (ferry-data) stays"

setup:
	@scripts/setup

run:
	@scripts/setup
	@exec ./ferry serve

test:
	@scripts/test

lint:
	@scripts/setup dev
	@scripts/lint

fuzz:
	@scripts/fuzz

bench:
	@scripts/bench

interop:
	@scripts/interop

conformance:
	@scripts/conformance

mutants:
	@scripts/mutants $(ONLY)

docs:
	@scripts/setup
	@scripts/docs

install:
	@scripts/install

uninstall:
	@PURGE=$(PURGE) scripts/uninstall

clean:
	rm -rf .venv .mutants interop/.build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
