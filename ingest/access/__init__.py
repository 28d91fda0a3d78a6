"""Decides who may write what: sites, keys, origins, categories, quotas."""
