"""The order of the tests: files that take minutes first, so that two workers end together."""

import pytest

LONG = (
    "kill", "resume", "sweep", "chaos", "demo", "device", "invariance", "learning", "docs", "roles",
)  # fmt: skip
"""Parts of the paths of files, the longest of them first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A stable order: files stay together, and as they are within."""

    def place(item: pytest.Item) -> int:
        return next((i for i, part in enumerate(LONG) if part in item.nodeid.split("::")[0]), 99)

    items.sort(key=place)
