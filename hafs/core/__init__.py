"""Foundations for every other package: errors, atomic files, signals, redaction, loopback addresses, failpoints."""
