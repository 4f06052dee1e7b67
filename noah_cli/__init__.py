"""The command line of noah: one file a command, no logic of the method."""
