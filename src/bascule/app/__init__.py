"""The top floor: command line, configuration of a run, its stages and its report. Wiring only."""
