"""The command line: one file per verb, one per renderer; nothing here computes."""
