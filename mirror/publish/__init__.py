"""Publishing: superdatasets of what is mirrored, and pushing it all to git hosts and further stores.

Reads the store, and writes superdatasets into it; asks nothing of the archive. Imported by `cli` alone.
"""
