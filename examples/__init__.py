"""What one can do with what is stored. Examples, and no part of the product."""
