"""Configuration: who wins, and what is refused how."""

from pathlib import Path

import pytest

from btfd import config
from btfd.errors import UsageProblem

ROOT = Path(__file__).parents[2]


def test_nothing_is_needed() -> None:
    settings = config.load(places=[])
    assert settings == config.Settings(origins=settings.origins)
    assert set(settings.origins.values()) == {"default"}
    assert settings.threads >= 1


def test_the_stronger_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, system = tmp_path / "home.yaml", tmp_path / "etc.yaml"
    home.write_text("# mine\njobs: 2\nencode_base: true\n")
    system.write_text("jobs: 3\nencode_base: false\nlang_exclude: [rust]\ncache: none\n")
    monkeypatch.setenv("BTFD_BTF_FEATURES", "var:float")
    monkeypatch.setenv("BTFD_JOBS", "5")
    settings = config.load({"jobs": 7, "force_base": None}, [str(home), str(system)])
    assert settings.jobs == 7
    assert settings.encode_base is True
    assert settings.lang_exclude == ("rust",)
    assert settings.btf_features == ("var", "float")
    assert settings.origins == {
        "trees": "default",
        "use": "default",
        "jobs": "command line",
        "btf_features": "environment BTFD_BTF_FEATURES",
        "lang_exclude": f"{system}:3",
        "encode_base": f"{home}:3",
        "force_base": "default",
        "resolve_btfids": "default",
        "build": "default",
        "cache": f"{system}:4",
    }


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("jobs: 1\nsocket: /tmp/x\n", 2, "unknown key `socket`"),
        ("jobs: many\n", 1, "`jobs`: expected a number from 0 to 1024"),
        ("jobs: true\n", 1, "`jobs`: expected a number"),
        ("\ntrees: /one\n", 2, "`trees`: expected a list of absolute paths"),
        ("trees: [{root: relative}]\n", 1, "`trees`: expected a list of absolute paths"),
        ("trees: [{root: /one, use: magic}]\n", 1, "`trees`: expected a list of absolute paths"),
        ("trees: [{root: /one, run: rm}]\n", 1, "`trees`: expected a list of absolute paths"),
        ("trees: [{root: /one, base: vmlinux}]\n", 1, "`trees`: expected a list of absolute"),
        ("use: magic\n", 1, "`use`: expected auto, kbuild or watcher"),
        ("jobs: 1\njobs: 2\n", 2, "`jobs` appears twice"),
        ("- a\n", 1, "expected `key: value` lines"),
        ("jobs: [1\n", 2, "expected"),
        ("encode_base: maybe\n", 1, "expected true or false"),
    ],
)
def test_mistakes_are_named_with_file_and_line(
    tmp_path: Path, text: str, where: int, says: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        config.load(places=[str(path)])
    assert caught.value.path == f"{path}:{where}"
    assert says in caught.value.cause


def test_mistakes_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTFD_JOBS", "-1")
    with pytest.raises(UsageProblem) as caught:
        config.load(places=[])
    assert caught.value.path == "BTFD_JOBS"


def test_the_example_is_complete_and_holds_the_defaults() -> None:
    example = ROOT / "config.example.yaml"
    settings = config.load(places=[str(example)])
    assert settings == config.Settings(origins=settings.origins)
    text = example.read_text()
    for key in config._CHECKS:
        assert f"\n{key}:" in text or f"\n# {key}:" in text
