"""The command line of noah: one file per command, none of the method's logic."""
