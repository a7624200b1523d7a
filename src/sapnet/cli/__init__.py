"""The command line: parsing, one function per verb, exit codes. No other module imports it."""
