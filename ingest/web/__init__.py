"""Everything a collector serves beside events: health, documentation, schemas, the SDK."""
