"""The command line: one module a noun, and how things are shown."""
