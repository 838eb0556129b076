"""Customs: what comes in with us (components, their licences, their known holes) and what must not go out.

1. `sbom`: a CycloneDX bill of materials of the installed environment and of the vendored scripts.
2. `licences`: every component's licence, which must go with GPL-3 (`.ci/licences.yaml`).
3. `advisories`: known vulnerabilities of every component, less those of a dated list (`.ci/advisories.yaml`).
4. `leaks`: keys and passwords in tracked files, less those known to be none (`.ci/secrets.json`).

``python -m tests.security`` runs all four, ``make audit`` calls it; the tests beside check the checkers.
"""
