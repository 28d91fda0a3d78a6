"""An example, not a product: from features of sessions to verdicts, which the door heeds."""
