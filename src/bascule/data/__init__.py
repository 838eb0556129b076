"""Floor 1: market data, from sources and files to the prepared panel.

1. `readers` take files of others (`freqtrade_files`, long tables, with `times` of any kind); `sources` fetch
   from exchanges, chains and news; `synthetic` makes a market of random `draws` with `planted` alphas. All
   give the canonical long frame; inside this package candles travel as `rows.Rows`. `composite` joins venues,
   `sentiment` scores headlines, `units` knows names such as 1000PEPE.
2. `health` tells what is odd or wrong in candles (`checks`, `events`, `comparisons`, `issues`), `live` does
   so for each new one; `repair` mends what it is asked to.
3. `store` keeps them, with tables of slow data (`slow`): parquet files (`partitions`, `digest`) under a
   `manifest`, one writer at a time (`transaction`, `lock`), any number of readers (`reading`); it makes
   longer candles (`resample`, `derived`) and a `provider` that panels and qlib read, made or grown by
   `building`, whose values `prepare` makes; `bins` reads qlib folders of others. `pointintime` joins slow
   data onto a panel; `update` keeps a store up to date from its sources.
4. `universe` chooses who is tradable when, `memberships` keeps that as history; `export` writes a freqtrade
   data folder.
"""
