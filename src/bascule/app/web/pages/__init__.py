"""The pages, by who needs them."""
