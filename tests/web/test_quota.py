"""Windows of calls: counted for each caller, and told."""

from __future__ import annotations

from lifesigns.web.quota import REMEMBERED, Left, Quota


def test_a_caller_has_its_calls_in_each_window() -> None:
    quota = Quota(3, 60)
    assert quota.untouched() == Left(True, 3, 60)
    assert quota.count("a", 100.0) == Left(True, 2, 60)
    assert quota.count("a", 110.5) == Left(True, 1, 50)
    assert quota.count("a", 159.9) == Left(True, 0, 1)
    assert quota.count("a", 159.9) == Left(False, 0, 1)
    assert quota.count("b", 159.9) == Left(True, 2, 60)
    assert quota.count("a", 160.0) == Left(True, 2, 60)


def test_who_is_refused_loses_nothing_by_asking() -> None:
    quota = Quota(1, 60)
    assert quota.count("a", 0.0).allowed
    assert not any(quota.count("a", float(second)).allowed for second in range(1, 60))
    assert quota.count("a", 60.0).allowed


def test_only_so_many_callers_are_remembered() -> None:
    quota = Quota(1, 60)
    for n in range(REMEMBERED + 10):
        quota.count(n, 0.0)
    assert len(quota._windows) == REMEMBERED
    assert quota.count(0, 1.0).allowed, "the oldest are forgotten"
    assert not quota.count(REMEMBERED + 9, 1.0).allowed
