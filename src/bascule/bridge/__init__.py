"""Floor 6: the two banks of the bridge, and the stretch of water between them.

- `bascule.bridge.exchange`: a local exchange that replays a panel: orders, books, faults, streams.
- `bascule.bridge.freqtrade`: strategy, configuration, runs of the real freqtrade, results.

Nothing is imported here: each bank brings a heavy library, and most work needs one of them.
"""
