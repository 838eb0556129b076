"""The dashboard: one process that shows what researchers and operators need, and lets operators act.

How a request is answered:

1. `guard` (ASGI, before any route) checks the host name, finds who asks (a session cookie or an API token),
   and refuses: nobody → the login page or 401, a viewer that wants to change something → 403, a change
   without the session's CSRF token → 403. A route that nobody thought about is closed, not open.
2. `pages` (HTML) and `api` (JSON, OpenAPI) are thin: both ask the same readers and say it in their form.
3. The readers: `catalogue` (factors), `workspace` with `runs`, `mined`, `learned`, `held` (what commands left
   in folders), `bots` (freqtrade's REST API), `watch` (alerts, actions and series of the monitor), `brake`
   (the emergency brake). They read files that other processes write in one step, never import qlib or
   freqtrade, and keep what they read until a file changes: a hundred viewers cost one reading.
4. `events` sends what changes to open pages: one watcher for all of them, over server-sent events.
5. `jobs` runs slow work (a tear sheet, a risk report) as a process of low priority, one at a time.
6. `accounts`, `sessions` and `audit` are the only things that the dashboard itself keeps, in one SQLite file.

Scripts and styles are the package's own (`static`); the policy that browsers are given allows nothing else.
Reports of other commands carry their scripts inside; they are shown in a sandbox without any origin, which
cannot read the session.
"""
