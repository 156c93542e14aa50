"""The command line: one small module for each command.

A command's module has `DESCRIPTION`, one or two sentences for its `--help`, and `run(argv) -> int`, which parses a
configuration, calls one function and prints where the result is. A command with subcommands passes its `COMMANDS` to
`dispatch.dispatch`. `main.MODULES` has the modules by name: a module is imported only when its command runs, and no
module imports anything heavy before its flags are read.
"""
