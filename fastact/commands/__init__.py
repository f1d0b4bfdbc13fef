"""The commands of the `fastact` command line, one module each: `add_arguments(parser)` and `run(arguments) -> int`."""
