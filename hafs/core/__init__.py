"""What every other package may use: errors, atomic files, signals, redaction, loopback addresses, failpoints."""
