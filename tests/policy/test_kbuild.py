"""What a tree says of itself."""

from pathlib import Path

import pytest

from btfd import features, kbuild
from btfd.kbuild import Config, encoder_options, parse_auto_conf

AUTO_CONF = """\
#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_CC_VERSION_TEXT="gcc (Debian 12.2.0) \\"12\\""
CONFIG_LOCALVERSION=
CONFIG_DEFAULT_HOSTNAME=(none)
CONFIG_DEBUG_INFO_BTF=y
CONFIG_DEBUG_INFO_BTF_MODULES=y
CONFIG_PAHOLE_VERSION=124
CONFIG_XFS_FS=m
"""

BASIC = "var,decl_tag,type_tag,enum64"


def test_auto_conf_has_bare_and_quoted_values() -> None:
    config = parse_auto_conf(AUTO_CONF)
    assert config.values["CONFIG_CC_VERSION_TEXT"] == 'gcc (Debian 12.2.0) "12"'
    assert config.values["CONFIG_LOCALVERSION"] == ""
    assert config.values["CONFIG_DEFAULT_HOSTNAME"] == "(none)"
    assert config.on("CONFIG_XFS_FS")
    assert not config.on("CONFIG_EXT4_FS")
    assert config.number("CONFIG_PAHOLE_VERSION") == 124
    assert config.number("CONFIG_XFS_FS") is None
    assert config.gates() == []


@pytest.mark.parametrize(
    ("line", "symbol", "fatal"),
    [
        ("CONFIG_DEBUG_INFO_SPLIT=y", "CONFIG_DEBUG_INFO_SPLIT", True),
        ("CONFIG_DEBUG_INFO_REDUCED=y", "CONFIG_DEBUG_INFO_REDUCED", True),
        ("CONFIG_DEBUG_INFO_NONE=y", "CONFIG_DEBUG_INFO_NONE", True),
        ("CONFIG_DEBUG_INFO_BTF_MODULES=n", "CONFIG_DEBUG_INFO_BTF_MODULES", False),
        ("CONFIG_DEBUG_INFO_BTF=n", "CONFIG_DEBUG_INFO_BTF", False),
        ("CONFIG_PAHOLE_VERSION=118", "CONFIG_PAHOLE_VERSION", False),
    ],
)
def test_each_gate_has_its_reason(line: str, symbol: str, fatal: bool) -> None:
    gates = parse_auto_conf(AUTO_CONF + line + "\n").gates()
    assert [(g.symbol, g.fatal) for g in gates] == [(symbol, fatal)]
    assert gates[0].reason


def test_no_btf_option_is_no_gate_when_we_make_the_base() -> None:
    assert Config({}).gates(encode_base=True) == []


@pytest.mark.parametrize(
    ("release", "pahole", "names", "excluded"),
    [
        ("5.11.0", 119, "decl_tag,type_tag", ()),
        ("5.18.0", 124, "float,var,decl_tag,type_tag", ()),
        ("6.1.0-56-cloud-amd64", 124, f"{BASIC},float", ("rust",)),
        ("6.1.192", 131, f"{BASIC},float,optimized_func,consistent_func", ("rust",)),
        ("6.10.0", 126, kbuild.NEWEST.removesuffix(",decl_tag_kfuncs"), ("rust",)),
        ("6.12.107", 131, kbuild.NEWEST, ("rust",)),
        ("6.17.1+", 130, kbuild.NEWEST + ",attributes", ("rust",)),
        ("7.2.13", 131, kbuild.NEWEST + ",attributes,layout", ("rust",)),
        ("7.3.4", 131, kbuild.NEWEST + ",layout", ("rust",)),
        (None, 124, kbuild.NEWEST, ("rust",)),
    ],
)
def test_features_are_those_that_kbuild_would_pass(
    release: str | None, pahole: int, names: str, excluded: tuple[str, ...]
) -> None:
    config = Config({"CONFIG_PAHOLE_VERSION": str(pahole)})
    options = encoder_options(config, release)
    assert set(options.features) == set(names.split(","))
    assert options.lang_exclude == excluded


def test_outside_a_tree_the_default_set() -> None:
    options = encoder_options(None, None)
    assert options.features == features.default()
    assert options.lang_exclude == ()


def test_keys_differ_when_output_may() -> None:
    one = encoder_options(None, None)
    two = encoder_options(Config({}), None)
    assert one.key != two.key


def test_release_from_file_or_makefile(tmp_path: Path) -> None:
    assert kbuild.release_of(str(tmp_path)) is None
    (tmp_path / "Makefile").write_text("# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 3\n")
    assert kbuild.release_of(str(tmp_path)) == "6.12"
    (tmp_path / "include/config").mkdir(parents=True)
    (tmp_path / "include/config/kernel.release").write_text("6.12.3-rc1+\n")
    assert kbuild.release_of(str(tmp_path)) == "6.12.3-rc1+"


def test_modules_order_in_both_forms(tmp_path: Path) -> None:
    assert kbuild.modules_order(str(tmp_path)) is None
    (tmp_path / "modules.order").write_text("a/one.ko\nb/two.o\na/one.o\n../out.ko\nodd\n")
    assert kbuild.modules_order(str(tmp_path)) == ["a/one.ko", "b/two.ko"]
    (tmp_path / "modules.order").write_text(f"{tmp_path}/c/three.o\n/elsewhere/four.o\n")
    assert kbuild.modules_order(str(tmp_path)) == ["c/three.ko"], "as for external modules"


def test_find_tree_walks_up(tmp_path: Path) -> None:
    module = tmp_path / "tree/drivers/net/foo.ko"
    module.parent.mkdir(parents=True)
    module.touch()
    assert kbuild.find_tree(str(module)) is None
    (tmp_path / "tree/vmlinux").touch()
    assert kbuild.find_tree(str(module)) is None
    (tmp_path / "tree/include/config").mkdir(parents=True)
    (tmp_path / "tree/include/config/auto.conf").touch()
    assert kbuild.find_tree(str(module)) == str((tmp_path / "tree").resolve())


@pytest.mark.parametrize(
    ("options", "on", "unknown"),
    [
        ([], (), ()),
        (["var,float"], ("var", "float"), ()),
        (["float", "var"], ("var", "float"), ()),
        (["default"], features.default(), ()),
        (["+layout"], (*features.default(), "layout"), ()),
        (["default,layout"], (*features.default(), "layout"), ()),
        (["var,nonsense,all", "nonsense"], ("var",), ("nonsense", "all")),
    ],
)
def test_feature_lists_add_up_as_with_pahole(
    options: list[str], on: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    assert features.parse(options) == features.Features(on, unknown)


def test_external_modules_bring_their_base_with_them() -> None:
    config = kbuild.parse_auto_conf("CONFIG_PAHOLE_VERSION=128\n")
    for release, distilled in (("6.10", False), ("6.12.3", True), ("6.15", True)):
        assert "distilled_base" not in kbuild.encoder_options(config, release).features
        external = kbuild.encoder_options(config, release, external=True)
        assert ("distilled_base" in external.features) is distilled
