"""Coalesce, settle, newest first, cancel."""

from btfd.schedule import BUSY_LAST, SETTLE, Scheduler


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
    assert s.next_due() == 5.0 + SETTLE


def test_forgotten_files_do_not_come() -> None:
    s = Scheduler()
    s.touch("a.ko", "new link", 0)
    s.forget("a.ko")
    assert s.idle
