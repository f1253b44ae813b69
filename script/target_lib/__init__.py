"""Real machines for the demo and the tests, never for the product: systemd-nspawn behind loopback ports."""
