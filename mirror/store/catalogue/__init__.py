"""The catalogue: what is quick to look up of all versions and all assets that are mirrored, or ever were.

`catalogue` is the file and its questions, `cataloguing` brings it up to what a repository holds, `history_lines` walks
commits, `asset_records` tells how the records of two of them differ, `asset_rows` is the table of assets. A cache: all
of it is in the repositories. Written by `store.chronicle` alone.
"""

from mirror.store.catalogue.catalogue import Catalogue, Occurrence, Standing

__all__ = ["Catalogue", "Occurrence", "Standing"]
