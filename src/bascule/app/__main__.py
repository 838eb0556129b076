"""``python -m bascule.app``: the same as the ``bascule`` command."""

from bascule.app.cli import main

if __name__ == "__main__":
    main()
