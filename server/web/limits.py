"""How many threads the web has, and how many of them live views may hold."""

THREADS = 160
VIEWERS = 136
"""Open live views at once; further ones are told to come back, and their pages ask again every few seconds instead."""
