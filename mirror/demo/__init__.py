"""A small DANDI archive that runs on this machine: for the first five minutes, the tests and the benchmarks.

`DemoArchive` is its holdings, driven from Python, behind two real HTTP servers on loopback: the REST API and the
S3 bucket. `DemoProcess` is the same in a process of its own. What they answer follows recordings of the real
server. May import `mirror.errors` and `mirror.archive.records` only.
"""

from mirror.demo.archive import DemoArchive
from mirror.demo.clock import Clock
from mirror.demo.process import DemoProcess
from mirror.demo.samples import sample_dandisets

__all__ = ["Clock", "DemoArchive", "DemoProcess", "sample_dandisets"]
