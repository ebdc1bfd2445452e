"""The client that the chaos test kills: python -m tests.chaos.client URL FOLDER CALLS"""

import sys
from pathlib import Path

from understudy.lm.base import Request, Sampling
from understudy.lm.cache import Cache
from understudy.lm.endpoint import EndpointLM
from understudy.lm.ledger import Ledger
from understudy.lm.transport import Retry
from understudy.types import Message

# as patient as by default in attempts that matter here, but in milliseconds
QUICK = Retry(attempts=20, paid_attempts=20, base_s=0.005, cap_s=0.05, max_wait_s=5.0)


def prompts(count: int) -> list[str]:
    return [f"question {i}" for i in range(count)]


def requests(count: int) -> list[Request]:
    return [
        Request((Message("user", prompt),), Sampling(max_tokens=16)) for prompt in prompts(count)
    ]


def main(url: str, folder: str, calls: str) -> None:
    cache = Cache(Path(folder) / "cache.sqlite")
    ledger = Ledger(cache, export=Path(folder) / "ledger.json")
    with EndpointLM(
        url, "m", ledger=ledger, max_in_flight=64, timeout=1.0, retry=QUICK
    ) as endpoint:
        for reply in endpoint.chat(requests(int(calls))):
            print(reply.text)


if __name__ == "__main__":
    main(*sys.argv[1:])
