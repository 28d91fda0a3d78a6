"""Who may write: sites, keys, origins, quotas."""
