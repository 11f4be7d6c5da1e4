"""Where items of work are done: in this process (`here`), in others (`processes`), on other machines (`cluster`).

`pool` says what they have in common. Only `mirror.sync.work` imports these.
"""
