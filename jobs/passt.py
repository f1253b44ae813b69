"""stub, replaced shortly"""
from contextlib import contextmanager
class WayOut:
    def cut(self): ...
@contextmanager
def way_out(qmp, run):
    yield WayOut()
