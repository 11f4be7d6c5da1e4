"""Where a thing is, by whatever it is called: for `resolve` and `clone-config`.

`resolver` looks it up, `answers` are what comes of that, `addresses` how one gets there, `commit_search` finds a commit
among all repositories, `client_config` is the configuration with which the archive's own names lead here.
"""

from mirror.store.resolving.resolver import Resolver

__all__ = ["Resolver"]
