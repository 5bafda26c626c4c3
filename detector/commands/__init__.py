"""What each command does, one file each; ``detector.cli`` only reads arguments and settings.

A command prints for people on standard error and results on standard output, and raises ``DetectorError`` for what an
operator can mend. What a command needs of the rooms it gets from wiring.
"""
