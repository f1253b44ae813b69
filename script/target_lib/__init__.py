"""Real machines for the demo and the tests: systemd-nspawn containers behind loopback ports. Never used by the product."""
