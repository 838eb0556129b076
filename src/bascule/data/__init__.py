"""Floor 1: market data, from files to the prepared panel.

1. `readers` take files of others (`freqtrade_files`, long tables); `synthetic` makes a market with `planted`
   alphas. Both give the canonical long frame; inside this package it travels as `rows.Rows`.
2. `health` tells what is odd or wrong in it (`checks`, `issues`); `repair` mends what it is asked to.
3. `store` keeps it: monthly parquet (`partitions`) under a `manifest`, one writer at a time (`lock`), and
   derives a `provider` for qlib from it, whose values `prepare` makes.
4. `universe` chooses who is tradable when; `export` writes a freqtrade data folder.
"""
