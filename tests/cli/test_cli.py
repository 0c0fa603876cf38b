"""The command line: verbs, messages, exit statuses, JSON. The core is one in memory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from btfd.__main__ import main
from btfd.cli.encode import detached_targets
from btfd.cli.output import Output
from btfd.errors import UsageProblem
from tests.policy.fake import FakeCore, link, link_base, make_tree

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return make_tree(tmp_path / "tree")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "btfd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("verb", [[], ["watch"], ["encode"], ["dump"], ["verify"]])
def test_help_documents_exit_statuses(verb: list[str]) -> None:
    done = run(*verb, "--help")
    assert done.returncode == 0
    for status in ("0  done", "1  failed", "2  usage"):
        assert status in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["encode"],
        ["dump", "x", "--format", "yaml"],
        ["encode", "-j", "0", "x"],
        ["watch", "/nonexistent/tree"],
    ],
)
def test_usage_is_status_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr


def test_encode_in_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    core = FakeCore()
    modules = [str(root / f"drivers/d{n}/m{n}.ko") for n in (2, 0, 1)]
    base = str(root / "vmlinux")
    assert main(["encode", "--base", base, "--json", *modules], core) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [o["path"] for o in objects] == modules, "in the order given"
    assert {o["status"] for o in objects} == {"encoded"}
    first = objects[0]
    assert first["types"] == 3
    assert first["split_bytes"] == 32
    assert first["full_bytes"] is None
    assert set(first["milliseconds"]) == {"read", "dwarf", "install"}
    assert main(["encode", "--base", base, "--json", "--full", *modules], core) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(o["status"], o["full_bytes"]) for o in objects} == {("unchanged", 100)}


def test_encode_finds_the_base_of_the_tree(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["encode", *(str(root / f"drivers/d{n}/m{n}.ko") for n in range(3))], FakeCore()) == 0
    )
    told = capsys.readouterr()
    assert told.err == f"btfd: base: {root / 'vmlinux'}\n"
    assert len(told.out.splitlines()) == 3


def test_a_module_outside_any_tree_needs_a_base(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link(tmp_path, "loose.ko", "x")
    path = str(tmp_path / "loose.ko")
    assert main(["encode", path], FakeCore()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"btfd: {path}: a module needs a base, and it lies in no kernel build tree"
    assert lines[1].startswith("hint: ")


def test_other_files_stand_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link_base(root, "image", btf=False)
    assert main(["encode", str(root / "vmlinux")], FakeCore()) == 0
    assert capsys.readouterr().err == ""


def test_one_failure_does_not_stop_the_rest(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = root / "drivers/d1/m1.ko"
    bad.write_text("nothing\n")
    files = [str(root / "drivers/d0/m0.ko"), str(bad), str(root / "gone.ko")]
    assert main(["encode", "--base", str(root / "vmlinux"), *files], FakeCore()) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert told.err.splitlines() == [
        f"btfd: {bad}: no DWARF",
        "hint: build with debug information",
        f"btfd: {root / 'gone.ko'}: No such file or directory",
    ]


def test_the_missing_base_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = str(root / "none")
    assert main(["encode", "--base", base, str(root / "drivers/d0/m0.ko")], FakeCore()) == 1
    assert capsys.readouterr().err.startswith(f"btfd: {base}: ")


def test_unknown_features_are_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(root / "drivers/d0/m0.ko")
    arguments = ["encode", "--base", str(root / "vmlinux"), "--btf-features", "var,magic", path]
    assert main(arguments, FakeCore()) == 0
    assert "btfd: unknown BTF feature `magic` turns nothing on" in capsys.readouterr().err


def test_detached_leaves_the_module_alone(root: Path, tmp_path: Path) -> None:
    core = FakeCore()
    path = root / "drivers/d0/m0.ko"
    before = path.read_bytes()
    base = str(root / "vmlinux")
    target = tmp_path / "m0.btf"
    assert main(["encode", "--base", base, "--detached", str(target), str(path)], core) == 0
    assert path.read_bytes() == before
    assert len(target.read_bytes()) == 32
    out = str(tmp_path / "out/")
    assert main(["encode", "--base", base, "--detached", out + "/", str(path)], core) == 0
    assert Path(out + str(path) + ".btf").read_bytes() == target.read_bytes()


def test_where_detached_files_go(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert detached_targets(None, ["a.ko"]) == {}
    assert detached_targets("x.btf", ["a.ko"]) == {"a.ko": "x.btf"}
    assert detached_targets("new/", ["d/a.ko"]) == {"d/a.ko": "new/d/a.ko.btf"}
    assert detached_targets(folder, ["./d//a.ko"]) == {"./d//a.ko": f"{folder}/d/a.ko.btf"}
    assert detached_targets("x", ["/abs/a.ko", "b.ko"]) == {
        "/abs/a.ko": "x/abs/a.ko.btf",
        "b.ko": "x/b.ko.btf",
    }
    with pytest.raises(UsageProblem):
        detached_targets("new/", ["../a.ko"])


def test_dump_and_verify(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    core = FakeCore()
    path, base = str(root / "drivers/d0/m0.ko"), str(root / "vmlinux")
    assert main(["encode", path], core) == 0
    capsys.readouterr()
    assert main(["dump", path, "--base", base], core) == 0
    assert capsys.readouterr().out.startswith("raw ")
    assert main(["dump", path, "--json"], core) == 0
    assert capsys.readouterr().out.startswith("json ")
    assert main(["verify", path, "--base", base], core) == 0
    assert capsys.readouterr().out == f"{path}: accepted\n"
    (root / "bad.ko").write_text("src x\nbtf bd00\n")
    assert main(["verify", str(root / "bad.ko"), "--base", base, "--json"], core) == 1
    assert json.loads(capsys.readouterr().out)["objections"] == [
        {"what": "type 7: invalid name", "refused": True}
    ]
    assert main(["verify", str(root / "bad.ko"), "--base", base], core) == 1
    assert "type 7: invalid name" in capsys.readouterr().err
    assert main(["dump", str(root / "drivers/d1/m1.ko"), "--base", base], core) == 1


def test_watch_once_and_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    core = FakeCore()
    assert main(["watch", str(root), "--once", "--json"], core) == 0
    kinds = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert kinds.count("encoded") == 3
    assert main(["watch", str(root), "--once"], core) == 0
    assert "encoded" not in capsys.readouterr().out
    assert main(["watch", str(root), "--once", "--btf-features", "var"], core) == 0
    assert "options changed" in capsys.readouterr().out


def test_watch_takes_its_tree_from_the_configuration(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "--once"], FakeCore()) == 2
    (tmp_path / "config/btfd").mkdir(parents=True)
    (tmp_path / "config/btfd/config.yaml").write_text(f"trees: [{root}]\n")
    assert main(["watch", "--once"], FakeCore()) == 0
    (tmp_path / "config/btfd/config.yaml").write_text("trees:\n- relative\n")
    assert main(["watch", "--once"], FakeCore()) == 2
    assert "config.yaml:1: `trees`: expected a list of absolute paths" in capsys.readouterr().err


def test_watch_ends_on_sigterm_with_status_0(root: Path) -> None:
    program = (
        "import sys; from btfd.__main__ import main; from tests.policy.fake import FakeCore;"
        "sys.exit(main(sys.argv[1:], FakeCore()))"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, "-c", program, "watch", str(root)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("ready"):
                    break
            time.sleep(0.1)
            process.send_signal(number)
            rest = process.stdout.read()
            assert process.wait(30) == 0
            assert "stopped" in rest


def test_names_that_are_not_utf8_pass_through(root: Path) -> None:
    name = os.fsencode(root) + b"/\xd0\xb1\xff.ko"
    program = (
        "import sys; from btfd.__main__ import main; from tests.policy.fake import FakeCore;"
        "sys.exit(main(sys.argv[1:], FakeCore()))"
    )
    with open(name, "wb") as f:
        f.write(b"src x\n")
    done = subprocess.run(
        [sys.executable, "-c", program, "encode", name], capture_output=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0
    assert done.stdout.startswith(name + b": encoded")


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    out = Output(stdout=screen, stderr=screen)  # type: ignore[arg-type]
    assert "\x1b[" in out.paint("x", "red")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Output(stdout=screen, stderr=screen)  # type: ignore[arg-type]
    assert out.paint("x", "red") == "x"


def test_the_bar_is_drawn_late_and_wiped() -> None:
    screen = Terminal()
    out = Output(stdout=screen, stderr=screen)  # type: ignore[arg-type]
    out.progress(1, 10)
    assert screen.text == ""
    out._started -= 1
    out.progress(2, 10)
    assert "2/10" in screen.text
    out.line("done")
    assert "\x1b[K" in screen.text
