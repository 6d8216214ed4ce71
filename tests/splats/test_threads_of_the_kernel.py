"""How the items of the splat kernel are shared out among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event, Lock, get_ident

import pytest
import torch

from worldr1.splats import rasterize


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Taken:
    """Items that were done, and by which threads."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.threads: set[int] = set()
        self.lock = Lock()

    def __call__(self, first: int, stop: int) -> None:
        with self.lock:
            self.items += range(first, stop)
            self.threads.add(get_ident())


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("items", [1, 2, 7, 100])
def test_every_item_is_done_once(items: int) -> None:
    taken = Taken()
    rasterize._run(taken, items)
    assert sorted(taken.items) == list(range(items))


@pytest.mark.usefixtures("two_threads")
def test_a_second_thread_takes_part() -> None:
    """The first piece waits until another thread has begun a piece: alone it would wait for ever."""
    begun, threads = Event(), set()

    def work(first: int, stop: int) -> None:
        threads.add(get_ident())
        if len(threads) == 2:
            begun.set()
        assert begun.wait(30)

    rasterize._run(work, 2)
    assert len(threads) == 2


@pytest.mark.usefixtures("two_threads")
def test_nobody_waits_for_a_thread_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[Callable[[], None]] = []
    monkeypatch.setattr(rasterize, "start_new_thread", lambda work, _: late.append(work))
    taken = Taken()
    rasterize._run(taken, 10)
    assert sorted(taken.items) == list(range(10))
    assert taken.threads == {get_ident()}
    (work,) = late
    work()
    assert len(taken.items) == 10


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_any_thread_is_raised_when_all_is_done() -> None:
    def work(first: int, stop: int) -> None:
        raise ValueError(f"item {first}")

    with pytest.raises(ValueError, match="item"):
        rasterize._run(work, 6)
