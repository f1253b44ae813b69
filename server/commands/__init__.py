"""What the commands do, by kind: `server.cli` parses and calls them."""
