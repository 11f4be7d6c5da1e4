"""Git hosts that stand in for the real ones: a REST API as its documentation says, and git over HTTP.

Strict: what the documentation does not allow (an unknown field, a missing header, a wrong method) is answered as the
real host would, or worse, and noted in `violations`, which must be empty in the end.
"""

from strict_hosts.forgejo import StrictForgejo
from strict_hosts.github import StrictGitHub
from strict_hosts.gitlab import StrictGitLab
from strict_hosts.server import TOKEN, GitServer, StrictHost

__all__ = ["TOKEN", "ZARR", "GitServer", "StrictForgejo", "StrictGitHub", "StrictGitLab", "StrictHost"]

ZARR = "0b2ed8d8-8a4b-4c2d-9b53-1e7d3e8b1f11"
