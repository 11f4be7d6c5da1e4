"""Does all of it hold together, for a week, in bad weather? `scripts/simulate`.

An archive of thousands of Dandisets, in a process of its own, is edited and published in; its servers fail at times;
two mirrors follow it meanwhile, one a daemon, the other started anew for each round, and both are killed. A week of the
archive passes in minutes. At the end each must hold what the archive holds, and both the same.

::

    scale         how large the archive is, and how long its week takes
    plan          what is to happen when, drawn from a seed
    contributors  those who edit and publish
    weather       the faults of the archive's servers
    disk          a small disk for one of the mirrors, to be full for a while
    mirrors       the two mirrors as processes: started, killed, started again
    following     how long each change takes to be in each mirror, and whether anything moves at all
    trouble       has all befall them that is planned
    memory        what the daemon takes of it, and whether that grows
    holding       what a repository holds, as git reads it
    comparing     the archive and both mirrors, when all has settled
    week          puts these together
    outcome       what came of it
    figures       that as a table

Runs on Linux: it finds processes, and what they take, in `/proc`.
"""
