"""gunicorn's settings. One process with many threads: each open live view holds one, and pages need some beside them."""

from server.web.limits import THREADS

worker_class = "gthread"
workers = 1
threads = THREADS
keepalive = 15
graceful_timeout = 1
"""Seconds that open live views get when toto stops; browsers come back by themselves."""
timeout = 60
loglevel = "warning"
proc_name = "toto-web"
forwarded_allow_ips = ""
"""No proxy header is believed unless a setting says so."""
