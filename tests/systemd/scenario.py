"""What is done inside the machine, as root, by its own python. Imports nothing of the tests.

Every step ends with a line `NAME ok` or `NAME FAILED why` on /dev/ttyS1.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TREE = "/home/alice/tree"
DROP_INS = Path("/home/alice/.config/systemd/user/btfd.service.d")
PATIENCE = 240.0


def alice(*command: str) -> str:
    """Runs as the user, in the user's session."""
    session = ["env", "XDG_RUNTIME_DIR=/run/user/1000", "HOME=/home/alice"]
    done = subprocess.run(
        ["runuser", "-u", "alice", "--", *session, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


def systemctl(*words: str) -> str:
    return alice("systemctl", "--user", *words)


def btfd(*words: str) -> str:
    return alice("/home/alice/.local/bin/btfd", *words)


def show(key: str, unit: str = "btfd.service") -> str:
    return systemctl("show", "--value", "-p", key, unit).strip()


def events(kind: str) -> list[dict[str, str]]:
    """Entries of the journal, by our own field."""
    subprocess.run(["journalctl", "--sync"], check=False)
    told = subprocess.run(
        ["journalctl", "-o", "json", "--no-pager", f"BTFD_EVENT={kind}"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return [json.loads(line) for line in told.splitlines()]


def wait(what: Callable[[], bool], why: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.5)


def user_manager() -> None:
    wait(lambda: os.path.exists("/run/user/1000/systemd/private"), "no user manager")


def started_by_its_socket() -> None:
    systemctl("start", "btfd.socket")
    mode = os.stat("/run/user/1000/btfd/io.btfd-0.1.0").st_mode & 0o777
    assert mode == 0o600, oct(mode)
    assert os.stat("/run/user/1000/btfd").st_mode & 0o777 == 0o700
    assert show("ActiveState") == "inactive"
    btfd("status")
    assert show("ActiveState") == "active"


def sandbox() -> None:
    text = Path(f"/proc/{show('MainPID')}/status").read_text()
    lines = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert lines["NoNewPrivs"] == "1" and lines["Seccomp"] == "2", text
    assert lines["CapEff"].strip("0") == "", lines["CapEff"]


def a_tree_is_served() -> None:
    btfd("add", TREE)
    btfd("wait", "--timeout", "200")
    modules = [json.loads(line) for line in btfd("modules", "--json").splitlines()]
    assert modules and all(m["state"] == "encoded" for m in modules), modules
    btfd("check", TREE)


def status_text() -> None:
    wait(lambda: show("StatusText").startswith("1 tree:"), show("StatusText"))


def journal_fields() -> None:
    wait(lambda: bool(events("encoded")), "no event in the journal")
    entry = events("encoded")[0]
    assert entry["BTFD_MODULE"].endswith(".ko") and entry["BTFD_TREE"] == TREE, entry
    assert int(entry["BTFD_DURATION_USEC"]) > 0


def reloaded() -> None:
    before = show("MainPID")
    systemctl("reload", "btfd.service")
    assert show("MainPID") == before
    assert show("ActiveState") == "active"
    wait(lambda: bool(events("reloaded")), "no reload in the journal")


def reloaded_by_signal() -> None:
    """Type=notify-reload, where systemd sends SIGHUP and waits for RELOADING=1 and READY=1."""
    drop_in("reload", "Type=notify-reload", "ExecReload=")
    systemctl("restart", "btfd.service")
    before = show("MainPID")
    systemctl("reload", "btfd.service")
    assert show("MainPID") == before and show("ActiveState") == "active"


def drop_in(name: str, *lines: str) -> None:
    DROP_INS.mkdir(parents=True, exist_ok=True)
    (DROP_INS / f"{name}.conf").write_text("[Service]\n" + "\n".join(lines) + "\n")
    systemctl("daemon-reload")


def memory_pressure() -> None:
    environment = Path(f"/proc/{show('MainPID')}/environ").read_bytes()
    assert b"MEMORY_PRESSURE_WATCH=/" in environment, "not passed by systemd"
    group = Path("/sys/fs/cgroup" + show("ControlGroup"))
    (group / "memory.high").write_text("8M")
    # What its threads need is pushed out and read again.
    n = 0
    while not events("memory-pressure"):
        n += 1
        assert n < 60, (group / "memory.pressure").read_text()
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            btfd("status")
    (group / "memory.high").write_text("max")
    btfd("wait", "--timeout", "200")


def a_deaf_service_is_killed() -> None:
    """The reader hangs, everything else goes on: only the heartbeat can tell."""
    drop_in("harm", "WatchdogSec=20", "Environment=BTFD_HARM=/opt/harm")
    systemctl("restart", "btfd.service")
    btfd("wait", "--timeout", "200")
    before = show("MainPID")
    alice("touch", f"{TREE}/poison")
    (DROP_INS / "harm.conf").unlink()
    systemctl("daemon-reload")
    alice("cp", f"{TREE}/drivers/d0/m0.ko", f"{TREE}/drivers/d0/late.ko")
    wait(lambda: show("MainPID") not in (before, "0"), "still the deaf one")
    assert int(show("NRestarts")) >= 1
    btfd("wait", "--timeout", "200")
    btfd("check", TREE)


def a_stopped_process_is_killed() -> None:
    drop_in("short", "WatchdogSec=20")
    systemctl("restart", "btfd.service")
    before = show("MainPID")
    os.kill(int(before), 19)
    wait(lambda: show("MainPID") not in (before, "0"), "still stopped")
    btfd("wait", "--timeout", "200")


def stopped() -> None:
    systemctl("stop", "btfd.service", "btfd.socket")
    assert show("Result") == "success", show("Result")
    assert not os.path.exists("/run/user/1000/btfd/io.btfd-0.1.0")


def build_host() -> None:
    """The template, run by the system's manager for a user."""
    subprocess.run(["systemctl", "start", "btfd@alice.service"], check=True, timeout=PATIENCE)
    told = alice("env", "BTFD_SOCKET=/run/btfd-alice/io.btfd-0.1.0", "/usr/bin/btfd", "status")
    assert "io.btfd" in told or told, told
    subprocess.run(["systemctl", "stop", "btfd@alice.service"], check=True, timeout=PATIENCE)


STEPS = (
    user_manager,
    started_by_its_socket,
    sandbox,
    a_tree_is_served,
    status_text,
    journal_fields,
    reloaded,
    memory_pressure,
    a_deaf_service_is_killed,
    a_stopped_process_is_killed,
    reloaded_by_signal,
    stopped,
    build_host,
)


#: What an older systemd does not know.
SINCE = {memory_pressure: 254, reloaded_by_signal: 253}


def steps(version: int) -> list[Callable[[], None]]:
    """What can be done with this version of systemd."""
    return [step for step in STEPS if SINCE.get(step, 0) <= version]


def running() -> int:
    told = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True)
    return int(told.stdout.split()[1])


def main() -> None:
    with open("/dev/ttyS1", "w", buffering=1) as report:
        for step in steps(running()):
            started = time.monotonic()
            try:
                step()
                verdict = "ok"
            except Exception as e:
                verdict = f"FAILED {e!r}"[:1500].replace("\n", " | ")
                log = subprocess.run(
                    ["journalctl", "--no-pager", "-n", "12", "-o", "cat", "_UID=1000"],
                    capture_output=True, text=True, check=False,
                ).stdout  # fmt: skip
                verdict += " | journal: " + log.replace("\n", " | ")[-2000:]
            print(step.__name__, verdict, file=report)
            print(f"# {time.monotonic() - started:.0f} s", file=report)
        print("end", file=report)
    subprocess.run(["systemctl", "poweroff", "--force", "--force"], check=False)
    sys.exit()


if __name__ == "__main__":
    main()
