"""Everything on one machine: starts, watches and stops the parts."""
