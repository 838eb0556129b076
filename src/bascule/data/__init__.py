"""Floor 1: market data. Readers, health checks, the store, the universe, and a synthetic market."""
