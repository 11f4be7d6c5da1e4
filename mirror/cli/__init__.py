"""The command line: parsing and printing only, one module per command.

`main` finds the command and turns errors into exit codes, `options` are what commands have in common, `output` writes
records to stdout, `progress` and `logs` write to stderr. Commands are imported when they are run, and import the engine
themselves, so that `--help` answers at once. Nothing else may import from here.
"""
