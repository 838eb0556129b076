import pytest

from bascule.core import DataError, Instrument


@pytest.mark.parametrize(
    ("text", "pair", "id_", "symbol"),
    [
        ("BTC/USDT", "BTC/USDT", "BTC_USDT", "BTCUSDT"),
        ("btcusdt", "BTC/USDT", "BTC_USDT", "BTCUSDT"),
        ("BTC_USDT_USDT", "BTC/USDT:USDT", "BTC_USDT_USDT", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT", "BTC_USDT_USDT", "BTCUSDT"),
        ("1000PEPEUSDT", "1000PEPE/USDT", "1000PEPE_USDT", "1000PEPEUSDT"),
        ("ETHBTC", "ETH/BTC", "ETH_BTC", "ETHBTC"),
        ("TUSDUSDT", "TUSD/USDT", "TUSD_USDT", "TUSDUSDT"),
    ],
)
def test_every_spelling_leads_to_the_same_instrument(text: str, pair: str, id_: str, symbol: str) -> None:
    instrument = Instrument.parse(text)
    assert (instrument.pair, instrument.id, instrument.symbol) == (pair, id_, symbol)
    assert Instrument.parse(instrument.id) == Instrument.parse(instrument.pair) == instrument


@pytest.mark.parametrize(
    "text", ["", "BTC", "BTC//USDT", "BTC/USDT:", "../../etc", "A_B_C_D", "BTC/US DT", "USDT"]
)
def test_what_is_no_instrument_is_refused_by_name(text: str) -> None:
    if text == "BTC/USDT:":  # an empty settle asset reads as spot
        assert Instrument.parse(text).pair == "BTC/USDT"
        return
    with pytest.raises(DataError) as caught:
        Instrument.parse(text)
    assert caught.value.remedy
