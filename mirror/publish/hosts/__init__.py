"""Pushing the store's repositories to git hosts and further RIA stores.

::

    push_all (pushing)      one host after the other, on each the Zarrs, the Dandisets, the superdatasets
      Turn (turn)           one repository: there, described, pushed, its default branch set, its releases made
        Target (target)     what a kind of host must be able to do: plain, ria, github, forgejo, gitlab
    behind (behind)         what a host has not as it is, from the marks alone
    Marks (marks)           what was pushed when; only what differs from it is told or pushed

To add a kind of host: a class that is a `Target`, a line in `targets.py`, a strict stand-in in its tests.
Imports `publish.publication`, `store`, `git`, `dataset`, `config`, `errors`; `cli` and `publish` import it.
"""

from mirror.publish.hosts.behind import Behind, Trouble, behind, hosts_that_show, trouble
from mirror.publish.hosts.outcome import HostOutcome, Watcher
from mirror.publish.hosts.patience import Patience
from mirror.publish.hosts.pushing import push_all

__all__ = [
    "Behind",
    "HostOutcome",
    "Patience",
    "Trouble",
    "Watcher",
    "behind",
    "hosts_that_show",
    "push_all",
    "trouble",
]
