"""From records to an acknowledgement."""
