"""Structs in C text: which there are, which members they have, what a word means."""

from __future__ import annotations

import random

import pytest

from btfd.csource import Source

MEMBERS = [
    ("struct s { int a; };", {"struct s": ["a"]}),
    ("union u { u8 a, *b, c[4]; };", {"union u": ["a", "b", "c"]}),
    (
        "struct s { unsigned long long flags; const char *const name; };",
        {"struct s": ["flags", "name"]},
    ),
    ("struct s { u32 up:1, :3, speed:4; };", {"struct s": ["up", "speed"]}),
    (
        "struct s { int (*open)(struct inode *in, int), (*arr[3])(void); };",
        {"struct s": ["open", "arr"]},
    ),
    (
        "struct s { struct { int in; }; union { int x; int y; } named; };",
        {"struct s": ["in", "x", "y", "named"]},
    ),
    (
        "struct s { struct t { int in; } t; int out; };",
        {"struct t": ["in"], "struct s": ["t", "out"]},
    ),
    ("struct s { enum { A, B = 2 } e; enum kind kind; };", {"struct s": ["e", "kind"]}),
    ("struct s { struct dev __rcu *dev; u64 __percpu *n; };", {"struct s": ["dev", "n"]}),
    (
        "struct s { u8 __pad; u32 x ____cacheline_aligned_in_smp; int y __aligned(8); };",
        {"struct s": ["__pad", "x", "y"]},
    ),
    ("struct s { int a __attribute__((aligned(8))); } __packed;", {"struct s": ["a"]}),
    ("struct __attribute__((packed)) s { int a; };", {"struct s": ["a"]}),
    ("struct __packed s { int a; };", {"struct s": ["a"]}),
    ("typedef struct { int a; } s_t;", {"s_t": ["a"]}),
    ("typedef struct tag { int a; } s_t;", {"struct tag": ["a"]}),
    ("struct s { struct_group(head, int a; int b;); int c; };", {"struct s": ["a", "b", "c"]}),
    ("struct s { struct_group_tagged(tag, head, int a;); };", {"struct s": ["a"]}),
    ("struct s { DECLARE_BITMAP(bits, 64); };", {"struct s": ["bits"]}),
    ("struct s {\n#ifdef A\n\tint a;\n#else\n\tlong b;\n#endif\n};", {"struct s": ["a", "b"]}),
    ("struct s { /* int no; */ int a; // int no;\n\tint b; };", {"struct s": ["a", "b"]}),
    ('char *t = "struct no { int x; };"; struct s { int a; };', {"struct s": ["a"]}),
    (
        "#define M struct no { int x; }; \\\n struct no2 { int y; };\nstruct s { int a; };",
        {"struct s": ["a"]},
    ),
    ("void f(void)\n{\n\tstruct local { int a; } l;\n}", {"struct local": ["a"]}),
    ("struct only; struct only *p; struct s f(struct s *x) { return *x; }", {}),
    ("struct s { int a; int b", {"struct s": ["a"]}),
    ("struct { int a; } variable;", {}),
]


@pytest.mark.parametrize(("text", "bodies"), MEMBERS, ids=lambda v: v if isinstance(v, str) else "")
def test_bodies_and_their_members(text: str, bodies: dict[str, list[str]]) -> None:
    found = Source(text).bodies
    assert {b.query: [m.name for m in b.members] for b in found} == bodies
    for body in found:
        assert text[body.start :].startswith(body.name)
        assert all(text[m.start :].startswith(m.name) for m in body.members)


USES = """
struct ring { struct list_head list; int head; };
struct wire { struct ring rx, *tx; };
struct wire *first, second[2];
typedef struct { int a; } pair_t;

static int use(struct wire *wire, const struct ring *__restrict ring, pair_t pair)
{
\tstruct wire __rcu *a, *b = wire;
\tstruct net_device *dev;
\twire->rx.head = 1;          /*1*/
\tb->tx->list.next = 0;       /*2*/
\tsecond[ring->head].rx.head; /*3*/
\tdev->name;                  /*4*/
\tcall(wire)->head;           /*5*/
\tunknown->head;              /*6*/
}
"""


@pytest.mark.parametrize(
    ("before", "word", "query", "path"),
    [
        ("struct ring {", "ring", "struct ring", ()),
        ("struct ring {", "struct", "struct ring", ()),
        ("struct ring { struct", "list;", "struct ring", ("list",)),
        ("rx, *tx", "tx", "struct wire", ("tx",)),
        ("const struct ring", "ring", "struct ring", ()),
        ("wire->rx.head = 1", "rx", "struct wire", ("rx",)),
        ("wire->rx.head = 1", "head", "struct wire", ("rx", "head")),
        ("b->tx->list", "next", "struct wire", ("tx", "list", "next")),
        ("second[ring", "head]", "struct ring", ("head",)),
        ("second[ring->head].rx", "head;", "struct wire", ("rx", "head")),
        ("dev->name", "name", "struct net_device", ("name",)),
        ("pair_t pair)", "pair_t", "pair_t", ()),
    ],
)
def test_what_a_word_means(before: str, word: str, query: str, path: tuple[str, ...]) -> None:
    offset = USES.index(word, USES.index(before))
    found = Source(USES).meaning(offset)
    assert found is not None
    assert (found.query, found.path) == (query, path)


@pytest.mark.parametrize(("before", "word"), [("call(wire)", "head"), ("unknown->", "head")])
def test_what_cannot_be_known_is_not_guessed(before: str, word: str) -> None:
    assert Source(USES).meaning(USES.index(word, USES.index(before))) is None


@pytest.mark.parametrize("offset", [-1, 0, 10**6])
def test_places_without_a_word(offset: int) -> None:
    assert Source("  ;").meaning(offset) is None
    assert Source("").meaning(offset) is None


def test_whatever_is_typed() -> None:
    whole = USES + "".join(text for text, _ in MEMBERS)
    chance = random.Random(1)
    for _ in range(300):
        a, b = sorted(chance.randrange(len(whole)) for _ in range(2))
        text = whole[:a] + whole[b:]
        source = Source(text)
        for body in source.bodies:
            assert text[body.start :].startswith(body.name)
        for offset in range(0, len(text), 7):
            found = source.meaning(offset)
            assert found is None or found.start <= offset <= found.end


def test_nesting_without_end_is_no_crash() -> None:
    found = Source("struct a { int x; " * 5000).bodies
    assert {body.name for body in found} <= {"a"}
