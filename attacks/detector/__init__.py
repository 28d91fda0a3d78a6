"""What the SDK's reductions cost a bot detector: its AUC on all that hands do, and on what the SDK tells of it."""
