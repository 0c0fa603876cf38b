"""docs/editors.md: each recipe as it stands there, run in its editor on a driver that is edited.

An editor that is not installed is passed over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import sample
from tests.support.run import btfd, must, run
from tests.support.sample import Driver

DOCS = Path(__file__).resolve().parents[2] / "docs/editors.md"
OLD, NEW = "\tu64 bytes;\n", "\tu64 bytes;\n\tu64 lost;\n"
SAID = "struct loopy_stats: +lost (u64) at 16 [btf]"


def recipe(title: str) -> str:
    """The indented block below a heading."""
    section = DOCS.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


@pytest.fixture
def driver(encoded_tree: Path, tmp_path: Path) -> Driver:
    made = sample.driver(tmp_path, encoded_tree)
    assert btfd("encode", made.tree / Driver.MODULE).returncode == 0
    # Saved in this very second, a header may look as old as its objects.
    for path in (*made.tree.rglob("*.o"), made.tree / Driver.MODULE):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return made


def env(driver: Driver) -> dict[str, str]:
    """Where `btfd` is in PATH."""
    folder = driver.root / "bin"
    folder.mkdir(exist_ok=True)
    command = folder / "btfd"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m btfd "$@"\n')
    command.chmod(0o755)
    return {**driver.env, "PATH": f"{folder}:{os.environ['PATH']}", "TERM": "dumb"}


def need(tool: str) -> str:
    if not shutil.which(tool):
        pytest.skip(f"no {tool} here")
    return tool


def test_vim(driver: Driver) -> None:
    vim, header, said = need("vim"), driver.source / Driver.HEADER, driver.root / "said"
    script = driver.root / "drive.vim"
    script.write_text(
        f"set nocompatible noswapfile\n{recipe('Vim')}"
        f"e {header}\ncall search('u64 bytes')\ncall append(line('.'), \"\\tu64 lost;\")\nw\n"
        "call map(getqflist(), {_, q -> q.lnum . ':' . q.col . ':' . q.text})"
        f"->writefile('{said}')\n"
        "qa!\n"
    )
    run(vim, "-Nu", "NONE", "-es", "-S", script, env=env(driver), timeout=120)
    lines = said.read_text().splitlines()
    assert any(line.startswith("11:6:") and line.endswith(f"note: {SAID}") for line in lines), lines


def neovim(driver: Driver, script: str) -> list[str]:
    """What a script in Lua says there."""
    nvim, path = need("nvim"), driver.root / "drive.lua"
    path.write_text(f"vim.o.swapfile = false\n{script}")
    command = (nvim, "--headless", "-u", "NONE", "-c", f"luafile {path}")
    done = run(*command, env=env(driver), timeout=120)
    return (done.stdout + done.stderr).splitlines()


def test_neovim(driver: Driver) -> None:
    header = driver.source / Driver.HEADER
    lines = neovim(
        driver,
        f"{recipe('Neovim')}"
        f'vim.cmd("edit {header}")\n'
        'vim.fn.search("u64 bytes")\nvim.fn.append(vim.fn.line("."), "\\tu64 lost;")\n'
        'vim.cmd("silent write")\n'
        "vim.wait(60000, function() return #vim.fn.getqflist() > 0 end, 20)\n"
        "for _, q in ipairs(vim.fn.getqflist()) do\n"
        '  io.stdout:write(q.valid .. " " .. q.lnum .. ":" .. q.col .. " " .. q.text .. "\\n")\n'
        'end\nvim.cmd("qa!")\n',
    )
    assert f"1 11:6 note: {SAID}" in lines
    assert all(line.startswith("1 ") for line in lines if line)


def test_neovim_as_a_client(driver: Driver) -> None:
    header = driver.source / Driver.HEADER
    text = recipe("Language server")
    client = text[text.index("local server") : text.index("(add-to-list")]
    lines = neovim(
        driver,
        f'vim.cmd("filetype on")\n{client}'
        f'vim.cmd("edit {header}")\nvim.bo.filetype = "c"\n'
        "vim.wait(60000, function() return #vim.lsp.codelens.get(0) > 0 end, 20)\n"
        "for _, lens in ipairs(vim.lsp.codelens.get(0)) do\n"
        '  io.stdout:write(lens.command.title .. "\\n")\nend\n'
        'vim.fn.search("loopy_priv {")\n'
        "local at = vim.lsp.util.make_position_params()\n"
        'for _, r in pairs(vim.lsp.buf_request_sync(0, "textDocument/hover", at, 60000)) do\n'
        '  io.stdout:write(r.result.contents.value .. "\\n")\nend\nvim.cmd("qa!")\n',
    )
    assert lines[0].startswith(f"{Driver.MODULE}: "), lines
    assert lines[1].startswith("**struct loopy_priv**: 64 bytes, 1 cache line"), lines


def test_emacs(driver: Driver) -> None:
    emacs, header = need("emacs"), driver.source / Driver.HEADER
    script = driver.root / "drive.el"
    script.write_text(
        f"{recipe('Emacs')}"
        f'(setq make-backup-files nil)\n(find-file "{header}")\n(c-mode)\n'
        '(search-forward "u64 bytes;\\n")\n(insert "\\tu64 lost;\\n")\n(save-buffer)\n'
        '(let ((p (get-buffer-process "*compilation*")))\n'
        "  (while (process-live-p p) (accept-process-output p 1)))\n"
        "(accept-process-output nil 0.2)\n"
        '(setq display-buffer-alist \'(("." (display-buffer-same-window))))\n'
        "(next-error 2)\n"
        '(princ (format "%d %s" (line-number-at-pos) (thing-at-point \'line t)))\n'
        '(with-current-buffer "*compilation*" (princ (buffer-string)))\n'
    )
    done = run(emacs, "--batch", "-Q", "-l", script, env=env(driver), timeout=120)
    assert done.stdout.startswith("11 \tu64 lost;"), done.stdout + done.stderr
    assert f"loopy.h:11:6: note: {SAID}" in done.stdout


def test_vs_code(driver: Driver) -> None:
    (task,) = json.loads(recipe("VS Code"))["tasks"]
    header = driver.source / Driver.HEADER
    header.write_text(header.read_text().replace(OLD, NEW))
    words = [word.replace("${file}", str(header)) for word in task["args"]]
    done = run(task["command"], *words, env=env(driver))
    assert done.returncode == 0, done.stderr
    pattern = task["problemMatcher"]["pattern"]
    lines = done.stdout.splitlines()
    regexp = re.compile(pattern["regexp"])
    found = [match for line in lines if (match := regexp.match(line))]
    assert len(found) == len(lines) > 2
    keys = ("file", "line", "column", "message")
    assert (str(header), "11", "6", SAID) in [tuple(m[pattern[k]] for k in keys) for m in found]
    if shutil.which("node"):
        # The regular expression is JavaScript's.
        code = (
            "const [p, text] = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
            "const all = text.trim().split('\\n').map(l => new RegExp(p.regexp).exec(l));"
            "console.log(JSON.stringify(all.map(m => m && [m[p.file], m[p.line], m[p.column]])))"
        )
        given = driver.root / "given"
        given.write_text(json.dumps([pattern, done.stdout]))
        shown = must("sh", "-c", f"node -e {json.dumps(code)} < {given}")
        assert [str(header), "11", "6"] in json.loads(shown.stdout)


def test_a_git_hook(driver: Driver) -> None:
    git, module = need("git"), driver.tree / Driver.MODULE
    here = driver.root / "work"
    folder = here / "build/drivers/net"
    folder.mkdir(parents=True)
    for name in ("include/config", "kernel"):
        (here / name).mkdir(parents=True)
    (here / "vmlinux").symlink_to(driver.tree / "vmlinux")
    (here / "include/config/auto.conf").touch()
    shutil.copy(module, folder / "loopy.ko")
    must(git, "init", "-q", here)
    hook = here / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(recipe("A git hook"))
    hook.chmod(0o755)
    kept = run(
        *("btfd", "diff", "--save", ".btfd-baseline", "build/drivers/net/loopy.ko"),
        cwd=here,
        env=env(driver),
    )
    assert kept.returncode == 0, kept.stderr
    commit = (
        *(git, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--allow-empty"),
        *("-qm", "x"),
    )
    assert run(*commit, cwd=here, env=env(driver)).returncode == 0
    driver.edit(OLD, NEW)
    sample.build(driver.tree, Driver.MODULE, sources=driver.source)
    shutil.copy(module, folder / "loopy.ko")
    stopped = run(*commit, cwd=here, env=env(driver))
    assert stopped.returncode == 1
    assert "2 changes touch layout, proto" in stopped.stderr
