"""Floor between bridge and app: watch what is live, tell what goes wrong, and act by rules.

1. *Measure*: each source (``sources/``) turns what it sees into samples: a metric of the catalogue
   (``samples.py``), a subject, the time at which the value became known, and, where there is one, the
   interval that the backtest leads to expect. Sources that read candles measure any past time as they
   measure now; the others (bots, venues) only now.
2. *Judge*: ``rules.py`` is a pure state machine with hysteresis, readings in a row and a cool-down.
   ``journal.py`` writes samples, rule states, events and planned actions (``records.py``) in one transaction
   (``schema.py``: SQLite, or PostgreSQL by URL). A process that is killed loses nothing and does nothing
   twice: before the commit nothing happened, after it everything is on disk.
3. *Act*: ``actions.py`` carries out what is planned: halt, hedge or flatten by the emergency plan of
   `bascule.bridge.freqtrade.emergency`, reduce, switch the venue, retrain, rotate factors. Each action has a
   key and looks for its own traces before it acts.
4. *Tell*: ``notify.py`` sends what was not told yet as one message, however many events there are, and never
   more often than allowed.
5. *Show*: ``metrics.py`` for Prometheus, `read.Reader` for a dashboard.
6. ``loop.py`` does all of that around the clock; ``replay.py`` does 1 and 2 over history, with the same code,
   and shows what would have been done.
7. ``jobs.py`` starts what the clock or an action asks for (data update, retraining, report), each once at a
   time whoever starts it.
"""
