"""Does a sync that is killed leave the old state or the new one, whenever it is killed? `scripts/crash-test 200`.

A demo archive changes; a real sync of a store is killed, be it while it mirrors, announces, writes superdatasets or
pushes; then it is looked at what lies there, before anything is repaired; then the sync is run again. Beside it a twin
of the store, never disturbed, says what each should be.

::

    steps       the instants of a program at which killing it may matter
    victim      a sync that kills itself at one of them
    killing     runs a sync and sees to its death, by a victim's own hand or by the clock
    changes     what happens in the archive meanwhile
    pair        the store and its twin, their settings and their hosts
    looking     what lies in a store, as git and its readers see it
    published   superdatasets, feed, catalogue and host
    rounds      change, kill, look, sync again, look again

Runs on Linux: it finds the processes of a sync, and where they work, in `/proc`.
"""
