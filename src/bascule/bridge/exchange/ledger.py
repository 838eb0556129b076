"""Double entry: every unit that an account gains was somebody's, and every unit it loses goes somewhere.

An `Entry` is a set of postings whose amounts sum to exactly nothing for every asset. Accounts of the trader
begin with ``free``, ``locked`` or ``isolated:``; the others are the world outside:

============== ==============================================================
``deposit``    where the first balances came from
``market``     the other side of trades, and of profits and losses of futures
``fees``       commissions paid
``funding``    funding paid and received
``insurance``  what liquidations leave behind, or what they cost beyond a margin
============== ==============================================================

All arithmetic is decimal and exact: an operation that would round raises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, localcontext

from pydantic import BaseModel

EXACT = Context(prec=80, traps=[Inexact])
ZERO = Decimal(0)
FREE, LOCKED = "free", "locked"
MARKET, FEES, FUNDING, INSURANCE, DEPOSIT = "market", "fees", "funding", "insurance", "deposit"


def isolated(symbol: str) -> str:
    """The account that holds a position's isolated margin."""
    return f"isolated:{symbol}"


class Posting(BaseModel):
    """One line of an entry: the account's balance in the asset changes by the amount."""

    account: str
    asset: str
    amount: Decimal


class Entry(BaseModel):
    """Something that happened to the balances.

    Attributes:
        number: counts from 1.
        ms: when, Unix milliseconds.
        kind: ``deposit``, ``lock``, ``unlock``, ``trade``, ``fee``, ``pnl``, ``margin``, ``funding``,
            ``liquidation``.
        reference: order, trade or symbol that caused it.
        symbol: the market concerned, or empty.
        postings: what moved; the amounts of each asset sum to zero.
    """

    number: int
    ms: int
    kind: str
    reference: str
    symbol: str
    postings: list[Posting]


class Ledger:
    """Entries and the balances that follow from them.

    Args:
        entries: earlier entries, in order.

    Attributes:
        entries: all of them.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: list[Entry] = []
        self._balances: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        for entry in entries:
            self._book(entry)

    def post(
        self, ms: int, kind: str, reference: str, *lines: tuple[str, str, Decimal], symbol: str = ""
    ) -> Entry:
        """Write an entry of (account, asset, amount) lines; lines of nothing are left out.

        Raises:
            ValueError: the amounts of an asset do not cancel: a fault in this program, nothing is written.
        """
        postings = [Posting(account=a, asset=s, amount=v) for a, s, v in lines if v]
        entry = Entry(
            number=len(self.entries) + 1,
            ms=ms,
            kind=kind,
            reference=reference,
            symbol=symbol,
            postings=postings,
        )
        if any(_sums(postings).values()):
            raise ValueError(f"unbalanced entry: {entry}")
        self._book(entry)
        return entry

    def _book(self, entry: Entry) -> None:
        with localcontext(EXACT):
            for line in entry.postings:
                self._balances[line.account, line.asset] += line.amount
        self.entries.append(entry)

    def balance(self, account: str, asset: str) -> Decimal:
        """What an account holds of an asset."""
        return self._balances.get((account, asset), ZERO)

    def balances(self) -> dict[tuple[str, str], Decimal]:
        """Everything that is not zero."""
        return {key: value for key, value in self._balances.items() if value}

    def assets(self) -> list[str]:
        """Every asset that ever moved, sorted."""
        return sorted({asset for _, asset in self._balances})

    def differences(self) -> list[str]:
        """What does not add up, in words; empty when all is well."""
        with localcontext(EXACT):
            again: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
            found = []
            for entry in self.entries:
                if any(_sums(entry.postings).values()):
                    found.append(f"entry {entry.number} does not cancel")
                for line in entry.postings:
                    again[line.account, line.asset] += line.amount
            found += [
                f"{account} {asset}: {self._balances[account, asset]} on the books, {value} by the entries"
                for (account, asset), value in again.items()
                if self._balances[account, asset] != value
            ]
            for asset in self.assets():
                total = sum((v for (_, a), v in self._balances.items() if a == asset), ZERO)
                if total:
                    found.append(f"{asset} sums to {total} over all accounts")
        return found


def _sums(postings: Iterable[Posting]) -> dict[str, Decimal]:
    with localcontext(EXACT):
        total: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for line in postings:
            total[line.asset] += line.amount
    return total
