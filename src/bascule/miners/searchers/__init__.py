"""Ways of searching, one file each, all behind `miners.contract.Searcher`."""
