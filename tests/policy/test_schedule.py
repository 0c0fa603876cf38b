"""Coalesce, settle, newest first, cancel."""

from btfd.schedule import AHEAD, BUSY_LAST, SETTLE, Scheduler


def drain(s: Scheduler, now: float) -> list[str]:
    found = []
    while (job := s.take(now)) is not None:
        found.append(job.path)
        s.finish(job)
    return found


def test_events_coalesce_and_settle() -> None:
    s = Scheduler()
    for n in range(5):
        s.touch("a.ko", "new link", 10 + n * SETTLE / 2)
    last = 10 + 4 * SETTLE / 2
    assert s.take(last) is None
    s.eager = False
    assert s.next_due() == last + SETTLE
    assert drain(s, last + SETTLE) == ["a.ko"]
    assert s.idle


def test_the_just_edited_goes_first_then_the_found_in_order() -> None:
    s = Scheduler()
    for name in ("x.ko", "y.ko", "z.ko"):
        s.find(name, "base changed")
    s.touch("old.ko", "new link", 1.0)
    s.touch("new.ko", "new link", 2.0)
    s.touch("z.ko", "new link", 3.0)
    assert drain(s, 100) == ["z.ko", "new.ko", "old.ko", "x.ko", "y.ko"]


def test_what_failed_before_stands_in_nobodys_way() -> None:
    s = Scheduler()
    s.touch("bad.ko", "new link", 10.0)
    job = s.take(20)
    assert job is not None
    s.retry(job, 20, failing=True)
    s.find("good.ko", "base changed")
    s.touch("new.ko", "new link", 5.0)
    assert drain(s, 100) == ["new.ko", "good.ko", "bad.ko"]


def test_others_are_those_that_wait_for_their_turn() -> None:
    s = Scheduler()
    s.find("failing.ko", "stale")
    job = s.take(0.0)
    assert job is not None
    s.retry(job, 0.0, failing=True)
    s.touch("a.ko", "linked", 0.0)
    edited = s.ahead(1.0)
    assert edited is not None
    assert list(s.others(edited)) == []
    s.find("b.ko", "stale")
    assert list(s.others(edited)) == ["b.ko"]


def test_one_at_a_time_and_again_afterwards() -> None:
    s = Scheduler()
    s.find("a.ko", "new link")
    job = s.take(0)
    assert job is not None
    s.touch("a.ko", "new link", 1.0)
    s.touch("a.ko", "new link", 2.0)
    assert s.take(100) is None
    assert not s.idle
    s.finish(job)
    assert drain(s, 100) == ["a.ko"]


def test_a_scan_does_not_repeat_what_is_running() -> None:
    s = Scheduler()
    s.find("a.ko", "new link")
    job = s.take(0)
    assert job is not None
    s.find("a.ko", "new link")
    s.finish(job)
    assert s.idle


def test_a_newer_base_overtakes_queue_and_running() -> None:
    s = Scheduler()
    s.find("a.ko", "base changed")
    s.find("b.ko", "base changed")
    job = s.take(0)
    assert job is not None
    assert s.overtake() == 2
    assert not job.wanted
    s.find("a.ko", "base changed")
    s.find("b.ko", "base changed")
    s.finish(job)
    assert drain(s, 0) == ["a.ko", "b.ko"]


def test_busy_files_come_again_ever_more_slowly() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 0.0)
    now, pauses = 1.0, []
    for _ in range(8):
        job = s.take(now)
        assert job is not None
        s.retry(job, now)
        due = s.next_due()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[3] <= BUSY_LAST + 1e-9
    assert abs(pauses[-1] - BUSY_LAST) < 1e-9


def test_a_new_link_ends_the_waiting_of_a_busy_file() -> None:
    s = Scheduler()
    s.find("a.ko", "new link")
    job = s.take(0)
    assert job is not None
    s.touch("a.ko", "new link", 5.0)
    s.retry(job, 5.0)
    assert s.next_due() == 5.0 + AHEAD


def test_forgotten_files_do_not_come() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 0)
    s.forget("a.ko")
    assert s.idle


def test_what_settles_is_prepared_once_and_keeps_the_result() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 10.0)
    assert s.ahead(10.0) is None
    assert s.next_due() == 10.0 + AHEAD
    job = s.ahead(10.0 + AHEAD)
    assert job is not None
    assert s.ahead(10.0 + AHEAD) is None
    assert s.next_due() is None, "a thread that is done wakes the loop"
    assert s.take(10.0 + SETTLE) is None
    assert (s.running, s.occupied, s.pending()) == (0, 1, {"a.ko"})
    s.prepared(job, "result")
    assert s.ahead(10.1) is None
    assert s.next_due() == 10.0 + SETTLE
    taken = s.take(10.0 + SETTLE)
    assert taken is not None and taken.prepared == "result"
    s.retry(taken, 11.0)
    again = s.take(12.0)
    assert again is not None and again.prepared == "result", "somebody only had it open"
    s.finish(again)
    assert s.idle


def test_an_event_disowns_what_was_prepared_before_it() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 10.0)
    early = s.ahead(10.0 + AHEAD)
    assert early is not None
    s.touch("a.ko", "new link", 10.02)
    assert not early.wanted
    late = s.ahead(10.02 + AHEAD)
    assert late is not None and late is not early
    s.prepared(late, "new")
    s.prepared(early, "old")
    taken = s.take(10.02 + SETTLE)
    assert taken is late and taken.prepared == "new"


def test_an_event_after_it_was_prepared_disowns_it_too() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 10.0)
    early = s.ahead(10.02)
    assert early is not None
    s.prepared(early, "old")
    s.touch("a.ko", "new link", 10.03)
    taken = s.take(11.0)
    assert taken is not None and taken.prepared is None


def test_a_new_base_or_a_file_that_is_gone_disowns_what_is_being_prepared() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 10.0)
    s.touch("b.ko", "new link", 10.001)
    newest, other = s.ahead(10.02), s.ahead(10.02)
    assert newest is not None and other is not None
    assert (newest.path, other.path) == ("b.ko", "a.ko")
    s.forget("a.ko")
    assert (newest.wanted, other.wanted) == (True, False)
    s.overtake()
    assert not newest.wanted
    assert not s.idle, "their threads are not done"
    s.prepared(newest, "result")
    s.prepared(other, "result")
    assert s.idle and newest.prepared is None


def test_only_what_was_touched_is_prepared() -> None:
    s = Scheduler()
    s.find("found.ko", "base changed")
    s.touch("failing.ko", "new link", 10.0)
    job = s.take(11.0)
    assert job is not None
    s.retry(job, 11.0, failing=True)
    assert s.ahead(100.0) is None
    s.touch("a.ko", "new link", 10.0)
    s.eager = False
    assert s.ahead(100.0) is None


def found(s: Scheduler, crowd: str, others: str = "") -> None:
    for name in crowd:
        s.find(name, "base changed", crowd=True)
    for name in others:
        s.find(name, "base changed")


def test_a_crowd_goes_many_at_a_time_in_the_order_found() -> None:
    s = Scheduler()
    found(s, "abcde")
    assert s.next_due() == 0.0
    first = s.take_crowd(0, 3)
    assert [job.path for job in first] == ["a", "b", "c"]
    assert (s.running, len(s)) == (3, 2)
    assert [job.path for job in s.take_crowd(0, 3)] == ["d", "e"]
    assert s.take_crowd(0, 3) == []


def test_what_was_touched_goes_before_a_crowd() -> None:
    s = Scheduler()
    found(s, "ab")
    s.touch("b", "new link", 10.0)
    s.touch("x", "new link", 11.0)
    assert [job.path for job in s.take_crowd(10.0, 9)] == ["a"], "the others settle"
    assert s.take_crowd(20.0, 9) == []
    found(s, "c")
    assert s.take_crowd(20.0, 9) == []
    assert drain(s, 20.0) == ["x", "b", "c"]


def test_others_are_begun_beside_a_crowd() -> None:
    s = Scheduler()
    found(s, "abcd", "xy")
    assert [job.path for job in s.take_crowd(0, 2, another=False)] == ["a", "b"]
    assert s.take_crowd(0, 2, another=True) == []
    assert [job.path for job in (s.take(0), s.take(0)) if job] == ["x", "y"]
    assert [job.path for job in s.take_crowd(0, 2, another=True)] == ["c", "d"]


def test_one_of_a_crowd_that_is_left_comes_alone() -> None:
    s = Scheduler()
    found(s, "abc", "x")
    for job in s.take_crowd(0, 2):
        s.alone(job)
    assert [job.path for job in s.take_crowd(0, 9)] == ["c"]
    assert drain(s, 0) == ["a", "b", "x"]


def test_one_of_a_crowd_that_was_overtaken_or_touched_does_not_come_again() -> None:
    s = Scheduler()
    found(s, "ab")
    first, second = s.take_crowd(0, 2)
    s.touch("a", "new link", 1.0)
    s.alone(first)
    assert s.waits("a") and not s.waits("b")
    assert s.take(0) is None, "it settles"
    s.overtake()
    s.alone(second)
    assert s.idle


def test_a_crowd_that_was_put_off_is_one_again() -> None:
    s = Scheduler()
    found(s, "abc")
    for job in s.take_crowd(0, 9):
        s.postpone(job, 5.0)
    assert s.take_crowd(4.0, 9) == [] and s.next_due() == 5.0
    assert [job.path for job in s.take_crowd(5.0, 9)] == ["a", "b", "c"]


def test_busy_ones_of_a_crowd_come_again_alone() -> None:
    s = Scheduler()
    found(s, "a")
    (job,) = s.take_crowd(0, 9)
    s.retry(job, 0)
    assert s.take_crowd(100, 9) == []
    assert drain(s, 100) == ["a"]
