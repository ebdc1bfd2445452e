"""Money by hand, caps under threads, and a journal that a crash cannot make disagree."""

import json
import random
import threading

import pytest

from understudy.lm import ledger as ledger_module
from understudy.lm.base import BudgetExceeded, LMError, Reply, Request
from understudy.lm.cache import Cache, key_of, request_json
from understudy.lm.ledger import Answer, Ask, Ledger, Price, read_prices
from understudy.types import Message, Usage

PRICES = {"m": Price(2.0, 8.0)}


def ask(prompt=100, completion=10, model="m", key="k", free=False):
    return Ask(key, model, prompt, completion, free)


def totals_agree(cache):
    """Whether the totals are the sums of the attempts."""
    columns = "model, state, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens), SUM(picousd)"
    counted = cache.rows(f"SELECT {columns} FROM attempts GROUP BY model, state ORDER BY 1, 2")
    kept = cache.rows(
        "SELECT model, state, calls, prompt_tokens, completion_tokens, picousd FROM totals"
        " WHERE calls > 0 AND state != 'cached' ORDER BY 1, 2"
    )
    return counted == kept


def test_prices_by_hand():
    ledger = Ledger(Cache(None), prices=PRICES)
    # reserved: 100 tokens at $2 and 10 at $8 per million = $0.00028
    a, b, c = ledger.reserve([ask(), ask(), ask()])
    assert ledger.summary()["usd"] == pytest.approx(3 * 0.00028, rel=1e-12)
    # 50 at $2 and 5 at $8 per million
    assert ledger.settle(a, "done", tokens=(50, 5), seconds=2.0) == pytest.approx(0.00014)
    assert ledger.settle(b, "refused", seconds=1.0) == 0
    assert ledger.settle(c, "unknown", seconds=0.5) == pytest.approx(0.00028)
    ledger.hits("m", 3)
    total = ledger.summary()
    assert total["usd"] == pytest.approx(0.00042, rel=1e-12)
    assert total["usd_unknown"] == pytest.approx(0.00028, rel=1e-12)
    assert ledger.usage() == Usage(2, 3, 150, 15, 3.5, total["usd"])
    assert totals_agree(ledger.cache)


def test_a_price_is_never_rounded_down():
    assert Price(0.0375, 0.15).picousd(1, 1) == 37_500 + 150_000
    assert Price(1e-9, 0).picousd(1, 0) == 1


def test_models_have_their_own_prices_and_an_unknown_one_says_so():
    ledger = Ledger(Cache(None), prices=PRICES)
    tickets = ledger.reserve([ask(), ask(model="m-2025-04-14"), ask(model="other"), ask(free=True)])
    for ticket in tickets:
        ledger.settle(ticket, "done", tokens=(1_000_000, 0))
    total = ledger.summary()
    assert total["usd"] == 4.0
    assert {name: (part["usd"], part["priced"]) for name, part in total["models"].items()} == {
        "m": (2.0, True),
        "m-2025-04-14": (2.0, True),
        "other": (0.0, False),
    }


def test_a_price_table_of_ones_own(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[gpt-5]\nprompt = 1\ncompletion = 2\n["my/model"]\nprompt=0\ncompletion=0.5\n')
    prices = read_prices(path)
    assert prices["gpt-5"] == Price(1.0, 2.0)
    assert prices["my/model"] == Price(0.0, 0.5)
    assert prices["gpt-4o"] == Price(2.5, 10.0)
    (tmp_path / "p.json").write_text('{"x": {"prompt": 3, "completion": 4}}')
    assert read_prices(tmp_path / "p.json")["x"] == Price(3.0, 4.0)


@pytest.mark.parametrize(
    "text",
    [
        "[x]\nprompt = 1\n",
        '[x]\nprompt = "1"\ncompletion = 1\n',
        "x = 1\n",
        "[x]\nprompt = -1\ncompletion = 1\n",
        "[x]\nprompt = nan\ncompletion = 1\n",
    ],
)
def test_a_bad_price_is_named(tmp_path, text):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(LMError, match=r"p\.toml: x: a price is"):
        read_prices(path)


def test_an_unreadable_price_table_is_named(tmp_path):
    with pytest.raises(LMError, match="cannot read the price table"):
        read_prices(tmp_path / "none.toml")
    (tmp_path / "p.toml").write_text("[[[")
    with pytest.raises(LMError, match=r"p\.toml: cannot read"):
        read_prices(tmp_path / "p.toml")


@pytest.mark.parametrize("cap", [{"max_usd": 0.00028}, {"max_tokens": 110}])
def test_a_cap_is_met_exactly_but_not_passed(cap):
    ledger = Ledger(Cache(None), prices=PRICES, **cap)
    (ticket,) = ledger.reserve([ask()])  # exactly the cap
    with pytest.raises(BudgetExceeded):
        ledger.reserve([ask(1, 0)])
    ledger.settle(ticket, "done", tokens=(50, 5))  # half of it comes back
    (ticket,) = ledger.reserve([ask(50, 5)])
    ledger.settle(ticket, "unknown")  # perhaps billed: nothing comes back
    with pytest.raises(BudgetExceeded, match="it was not made"):
        ledger.reserve([ask(1, 0)])
    assert totals_agree(ledger.cache)


def test_a_batch_fits_as_a_whole_or_not_at_all():
    ledger = Ledger(Cache(None), prices=PRICES, max_tokens=300)
    with pytest.raises(BudgetExceeded, match="330 tokens"):
        ledger.reserve([ask()] * 3)
    assert ledger.summary()["prompt_tokens"] == 0
    assert len(ledger.reserve([ask()] * 2)) == 2


@pytest.mark.parametrize("cap", [{"max_usd": -1}, {"max_usd": float("nan")}, {"max_tokens": -1}])
def test_a_cap_is_a_number(cap):
    with pytest.raises(LMError, match="must be a number of at least 0"):
        Ledger(Cache(None), **cap)


def test_64_threads_and_two_processes_worth_of_ledgers_do_not_pass_the_cap(tmp_path):
    ledgers = [
        Ledger(Cache(tmp_path / "c.sqlite"), prices=PRICES, max_usd=0.01, max_tokens=10**9)
        for _ in range(2)
    ]
    worst, refused = [0.0], []

    def spend(number):
        rng = random.Random(number)
        ledger = ledgers[number % 2]
        for _ in range(6):
            try:
                (ticket,) = ledger.reserve([ask()])
            except BudgetExceeded:
                refused.append(number)
                continue
            worst.append(ledger.summary()["usd"])
            state = rng.choice(["done", "unknown", "refused"])
            ledger.settle(ticket, state, tokens=(90, 9) if state == "done" else None)

    threads = [threading.Thread(target=spend, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert 0.009 < max(worst) <= 0.01
    assert totals_agree(ledgers[0].cache)
    for ledger in ledgers:
        ledger.cache.close()


def test_an_answer_and_its_price_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    request = Request((Message("user", "p"),))
    document = request_json("m", request)
    cache = Cache(tmp_path / "c.sqlite")
    ledger = Ledger(cache, prices=PRICES)
    (ticket,) = ledger.reserve([ask(key=key_of(document))])

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger_module, "insert_answer", crash)
    answer = Answer(document, Reply("x"))
    with pytest.raises(KeyboardInterrupt):
        ledger.settle(ticket, "done", tokens=(1, 1), answer=answer)
    assert cache.get(ticket.ask.key) is None
    assert (ledger.summary()["done"], ledger.summary()["unknown"]) == (0, 1)
    assert totals_agree(cache)
    monkeypatch.undo()
    ledger.settle(ticket, "done", tokens=(1, 1), answer=answer)
    assert cache.get(ticket.ask.key).text == "x"
    assert (ledger.summary()["done"], ledger.summary()["unknown"]) == (1, 0)
    with pytest.raises(LMError, match="settled before"):
        ledger.settle(ticket, "done", tokens=(1, 1))
    cache.close()


def test_what_was_on_its_way_when_the_process_died_stays_reserved(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    Ledger(cache, prices=PRICES).reserve([ask()])
    cache.close()
    later = Ledger(Cache(tmp_path / "c.sqlite"), prices=PRICES, max_tokens=200)
    assert later.summary()["unknown"] == 1
    assert later.summary()["usd_unknown"] == pytest.approx(0.00028)
    with pytest.raises(BudgetExceeded, match="110 used or reserved"):
        later.reserve([ask()])
    later.cache.close()


def test_the_export_says_what_the_journal_says(tmp_path):
    ledger = Ledger(Cache(None), prices=PRICES, max_usd=1.0, export=tmp_path / "ledger.json")
    (ticket,) = ledger.reserve([ask()])
    ledger.settle(ticket, "done", tokens=(50, 5))
    ledger.export()
    assert json.loads((tmp_path / "ledger.json").read_text()) == ledger.summary()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.json"]
    assert ledger.summary()["max_usd"] == 1.0


def test_an_unwritable_export_is_named(tmp_path):
    ledger = Ledger(Cache(None), export=tmp_path / "none" / "ledger.json")
    with pytest.raises(LMError, match=r"ledger\.json: cannot write the ledger"):
        ledger.export()
