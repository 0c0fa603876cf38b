"""Edits of driver.c, each with what has to be said about it, word by word."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """Text that is replaced (a pair each), and the lines of feedback in order."""

    name: str
    steps: tuple[tuple[str, str], ...]
    said: tuple[str, ...]


def edit(name: str, *rest: tuple[str, str] | str) -> Edit:
    steps = tuple(step for step in rest if isinstance(step, tuple))
    return Edit(name, steps, tuple(line for line in rest if isinstance(line, str)))


EDITS = (
    # ---- nothing that BTF knows ----
    edit("comment", ("/* What the edits", "/* Whatever the edits")),
    edit("blank-lines", ("struct wire_ops {", "\n\n\nstruct wire_ops {")),
    edit("function-body", ("first * 31", "first * 37")),
    edit(
        "local-variable",
        ("\tstatic struct wire wire;", "\tstatic struct wire wire;\n\tint id = wire.id;"),
    ),
    edit("macro-for-the-same", ("u8 slots[48]", "u8 slots[6 * 8]")),
    edit(
        "order-of-definitions",
        (
            (
                "struct wire_flags {\n\tu32 up:1;\n\tu32 speed:4;\n\tu32 duplex:2;\n};\n\n"
                "union wire_word {\n\tu32 whole;\n\tu16 half[2];\n};"
            ),
            (
                "union wire_word {\n\tu32 whole;\n\tu16 half[2];\n};\n\nstruct wire_flags {\n"
                "\tu32 up:1;\n\tu32 speed:4;\n\tu32 duplex:2;\n};"
            ),
        ),
    ),
    edit(
        "order-of-functions",
        (
            (
                "noinline void wire_reset(struct wire *wire)\n{\n\twire->state = WIRE_DOWN;\n"
                "\twire_last = wire->id;\n\twire_counters.packets = 0;\n}\n\n"
                "static noinline u32 wire_sum(u32 first, u32 second)\n{\n"
                "\treturn first * 31 + second;\n}"
            ),
            (
                "static noinline u32 wire_sum(u32 first, u32 second)\n{\n"
                "\treturn first * 31 + second;\n}\n\nnoinline void wire_reset(struct wire *wire)\n"
                "{\n\twire->state = WIRE_DOWN;\n\twire_last = wire->id;\n"
                "\twire_counters.packets = 0;\n}"
            ),
        ),
    ),
    edit(
        "variable-of-no-percpu",
        ("struct wire_ring wire_ring;", "struct wire_ring wire_ring;\nu32 wire_other[4];"),
    ),
    # ---- members ----
    edit(
        "member-at-the-end",
        ("\tu64 bytes;\n};", "\tu64 bytes;\n\tu64 dropped;\n};"),
        "~ struct wire_stats 16 -> 24 bytes: +dropped (u64) at 16",
        (
            "~ struct wire 104 -> 120 bytes: rx 16 -> 24 bytes, tx 16 -> 24 bytes, bad "
            "crosses no cache line any more, 10 members moved"
        ),
        "~ struct wire_stats wire_counters: 16 -> 24 bytes",
    ),
    edit(
        "member-in-front",
        ("\tu32 head;", "\tu64 first;\n\tu32 head;"),
        "~ struct wire_ring 72 -> 80 bytes: +first (u64) at 0, 5 members moved by +8 bytes",
    ),
    edit(
        "member-beyond-a-cache-line",
        ("\t\tu32 errors;\n\t} bad;", "\t\tu32 errors[20];\n\t} bad;"),
        (
            "~ struct wire 104 -> 176 bytes: bad 8 -> 84 bytes, bad.errors u32 -> u32[20], "
            "no hole of 4 bytes behind bad any more, 4 members moved by +72 bytes"
        ),
    ),
    edit(
        "member-removed-last",
        ("\tu64 budget;\n", ""),
        "~ struct wire_ring 72 -> 64 bytes: -budget (u64) at 64",
    ),
    edit(
        "member-removed-inside",
        ("\tu32 tail;\n", ""),
        ("wire_ring.tail", "0"),
        (
            "~ struct wire_ring 72 bytes: -tail (u32) at 4, slots moved 8 -> 4, new hole of "
            "4 bytes behind slots"
        ),
    ),
    edit(
        "member-into-a-hole",
        ("\tstruct list_head queue;", "\tu32 filler;\n\tstruct list_head queue;"),
        "~ struct wire 104 bytes: +filler (u32) at 68, no hole of 4 bytes behind bad any more",
    ),
    edit(
        "member-that-makes-a-hole",
        ("\tu32 head;\n\tu32 tail;\n", "\tu32 head;\n\tu64 wide;\n\tu32 tail;\n"),
        (
            "~ struct wire_ring 72 -> 88 bytes: +wide (u64) at 8, slots crosses into cache "
            "line 1, new hole of 4 bytes behind head, new hole of 4 bytes behind slots, 4 "
            "members moved"
        ),
    ),
    edit(
        "member-into-padding",
        ("\tunion wire_word word;\n", "\tunion wire_word word;\n\tu32 last;\n"),
        "~ struct wire 104 bytes: +last (u32) at 100, padding 4 -> 0 bytes",
    ),
    edit(
        "member-renamed",
        ("\tu64 doorbell;", "\tu64 bell;"),
        "~ struct wire_ring 72 bytes: doorbell renamed bell",
    ),
    edit(
        "member-renamed-behind-a-new-one",
        ("\tu64 doorbell;", "\tu64 early;\n\tu64 bell;"),
        (
            "~ struct wire_ring 72 -> 80 bytes: doorbell renamed early, +bell (u64) at 64, "
            "budget moved 64 -> 72"
        ),
    ),
    edit(
        "member-retyped-same-size",
        ("\tu64 doorbell;", "\ts64 doorbell;"),
        "~ struct wire_ring 72 bytes: doorbell u64 -> s64",
    ),
    edit(
        "member-retyped-wider",
        ("\tu32 tail;", "\tu64 tail;"),
        (
            "~ struct wire_ring 72 -> 80 bytes: tail u32 -> u64, new hole of 4 bytes behind "
            "head, 4 members moved"
        ),
    ),
    edit(
        "member-array-longer",
        ("slots[48]", "slots[64]"),
        (
            "~ struct wire_ring 72 -> 88 bytes: slots u8[48] -> u8[64], slots crosses into "
            "cache line 1, doorbell moved 56 -> 72, budget moved 64 -> 80"
        ),
    ),
    edit(
        "member-const",
        ("\tu64 doorbell;", "\tconst u64 doorbell;"),
        "~ struct wire_ring 72 bytes: doorbell u64 -> const u64",
    ),
    edit(
        "member-volatile-pointer",
        (
            "\tstruct net_device *dev;\n\twire_id_t",
            "\tstruct net_device *volatile dev;\n\twire_id_t",
        ),
        "~ struct wire 104 bytes: dev struct net_device * -> struct net_device *volatile",
    ),
    edit(
        "members-swapped",
        ("\tu32 head;\n\tu32 tail;", "\tu32 tail;\n\tu32 head;"),
        "~ struct wire_ring 72 bytes: tail moved 4 -> 0, head moved 0 -> 4",
    ),
    edit(
        "member-of-function-pointer",
        ("(*close)(struct net_device *dev, int why)", "(*close)(struct net_device *dev, long why)"),
        (
            "~ struct wire_ops 16 bytes: close void (*)(struct net_device *, int) -> void "
            "(*)(struct net_device *, long int)"
        ),
    ),
    edit(
        "member-new-function-pointer",
        ("\tint (*open)", "\tint (*probe)(struct wire_ring *ring);\n\tint (*open)"),
        (
            "~ struct wire_ops 16 -> 24 bytes: +probe (int (*)(struct wire_ring *)) at 0, "
            "open moved 0 -> 8, close moved 8 -> 16"
        ),
    ),
    edit(
        "packed",
        ("\tunion wire_word word;\n};", "\tunion wire_word word;\n} __packed;"),
        (
            "~ struct wire 104 -> 93 bytes: no hole of 4 bytes behind bad any more, no hole "
            "of 3 bytes behind carrier any more, padding 4 -> 0 bytes, 4 members moved"
        ),
    ),
    edit(
        "aligned",
        ("\tu64 budget;\n};", "\tu64 budget;\n} __aligned(64);"),
        "~ struct wire_ring 72 -> 128 bytes: padding 0 -> 56 bytes",
    ),
    edit(
        "aligned-member",
        ("\tu64 doorbell;", "\tu64 doorbell __aligned(64);"),
        (
            "~ struct wire_ring 72 -> 128 bytes: doorbell moved 56 -> 64, budget moved 64 -> "
            "72, new hole of 8 bytes behind slots, padding 0 -> 48 bytes"
        ),
    ),
    edit(
        "flexible-array",
        ("\tu64 budget;\n};", "\tu64 budget;\n\tu8 tail_room[];\n};"),
        "~ struct wire_ring 72 bytes: +tail_room (u8[0]) at 72",
    ),
    # ---- bitfields ----
    edit(
        "bitfield-wider",
        ("u32 speed:4;", "u32 speed:5;"),
        (
            "~ struct wire_flags 4 bytes: speed 4 -> 5 bits, duplex moved 0:5 -> 0:6, "
            "padding 25 -> 24 bits"
        ),
    ),
    edit(
        "bitfield-added",
        ("\tu32 duplex:2;", "\tu32 duplex:2;\n\tu32 mdix:1;"),
        "~ struct wire_flags 4 bytes: +mdix (u32:1) at 0:7, padding 25 -> 24 bits",
    ),
    edit(
        "bitfield-removed",
        ("\tu32 duplex:2;\n", ""),
        "~ struct wire_flags 4 bytes: -duplex (u32:2) at 0:5, padding 25 -> 27 bits",
    ),
    edit(
        "bitfield-to-member",
        ("\tu32 duplex:2;", "\tu32 duplex;"),
        (
            "~ struct wire_flags 4 -> 8 bytes: duplex u32:2 -> u32, new hole of 27 bits "
            "behind speed, padding 25 -> 0 bits"
        ),
        ("~ struct wire 104 bytes: flags 4 -> 8 bytes, word moved 96 -> 100, padding 4 -> 0 bytes"),
    ),
    edit(
        "bitfield-gap",
        ("\tu32 duplex:2;", "\tu32 :3;\n\tu32 duplex:2;"),
        (
            "~ struct wire_flags 4 bytes: duplex moved 0:5 -> 1:0, new hole of 3 bits behind "
            "speed, padding 25 -> 22 bits"
        ),
    ),
    edit(
        "bitfield-renamed",
        ("u32 duplex:2", "u32 full:2"),
        "~ struct wire_flags 4 bytes: duplex renamed full",
    ),
    # ---- nameless parts ----
    edit(
        "nameless-struct-member",
        ("\t\tu32 drops;", "\t\tu32 lost;\n\t\tu32 drops;"),
        (
            "~ struct wire 104 bytes: bad 8 -> 12 bytes, +bad.lost (u32) at 0, bad.drops "
            "moved 0 -> 4, bad.errors moved 4 -> 8, no hole of 4 bytes behind bad any more"
        ),
    ),
    edit(
        "nameless-union-member",
        ("\t\tu32 raw;", "\t\tu32 raw;\n\t\tu8 octets[4];"),
        "~ struct wire 104 bytes: +octets (u8[4]) at 56",
    ),
    edit(
        "nameless-struct-around",
        ("\tu32 head;\n\tu32 tail;", "\tstruct {\n\t\tu32 head;\n\t\tu32 tail;\n\t};"),
        "~ struct wire_ring 72 bytes: members arranged otherwise",
    ),
    edit(
        "nameless-union-around",
        ("\tu32 head;\n\tu32 tail;", "\tunion {\n\t\tu32 head;\n\t\tu32 tail;\n\t};"),
        (
            "~ struct wire_ring 72 bytes: tail moved 4 -> 0, slots moved 8 -> 4, new hole of "
            "4 bytes behind slots"
        ),
    ),
    edit(
        "nameless-struct-gets-a-name",
        ("\tstruct {\n\t\tu32 drops;", "\tstruct wire_bad {\n\t\tu32 drops;"),
        "~ struct wire 104 bytes: bad struct { u32 drops; u32 errors; } -> struct wire_bad",
        "+ struct wire_bad 8 bytes",
    ),
    # ---- whole types ----
    edit(
        "struct-added",
        (
            "struct wire_ring wire_ring;",
            "struct wire_ring wire_ring;\nstruct wire_more { struct wire *wire; } wire_more;",
        ),
        "+ struct wire_more 8 bytes",
    ),
    edit(
        "struct-removed",
        ("\tunion wire_word word;\n", "\tu32 word;\n"),
        ("union wire_word {\n\tu32 whole;\n\tu16 half[2];\n};\n", ""),
        "~ struct wire 104 bytes: word union wire_word -> u32",
        "- union wire_word 4 bytes",
    ),
    edit(
        "struct-renamed",
        ("struct wire_flags {", "struct wire_bits {"),
        ("struct wire_flags flags", "struct wire_bits flags"),
        "~ struct wire 104 bytes: flags struct wire_flags -> struct wire_bits",
        "- struct wire_flags 4 bytes",
        "+ struct wire_bits 4 bytes",
    ),
    edit(
        "struct-to-union",
        ("struct wire_stats {", "union wire_stats {"),
        ("struct wire_stats rx", "union wire_stats rx"),
        ("DEFINE_PER_CPU(struct wire_stats", "DEFINE_PER_CPU(union wire_stats"),
        (
            "~ struct wire 104 -> 88 bytes: rx struct wire_stats -> union wire_stats, tx "
            "struct wire_stats -> union wire_stats, bad crosses no cache line any more, "
            "queue crosses into cache line 1, 10 members moved"
        ),
        "- struct wire_stats 16 bytes",
        (
            "~ union wire_stats wire_counters: struct wire_stats -> union wire_stats, at "
            ".data..percpu+16 -> .data..percpu+8"
        ),
        "+ union wire_stats 8 bytes",
    ),
    edit(
        "union-member",
        ("\tu16 half[2];", "\tu16 half[2];\n\tu64 wide;"),
        "~ union wire_word 4 -> 8 bytes: +wide (u64) at 0",
        "~ struct wire 104 bytes: word 4 -> 8 bytes, padding 4 -> 0 bytes",
    ),
    edit(
        "typedef-wider",
        ("typedef u32 wire_id_t;", "typedef u16 wire_id_t;"),
        "~ typedef wire_id_t: u32 -> u16",
        "~ struct wire 104 bytes: id 4 -> 2 bytes, new hole of 2 bytes behind id",
    ),
    edit(
        "typedef-added",
        ("typedef u32 wire_id_t;", "typedef u32 wire_id_t;\ntypedef wire_id_t wire_key_t;"),
        ("\twire_id_t id;", "\twire_key_t id;"),
        "~ struct wire 104 bytes: id wire_id_t -> wire_key_t",
        "+ typedef wire_key_t = wire_id_t",
    ),
    # ---- enums ----
    edit(
        "enum-value-added",
        ("\tWIRE_UP,", "\tWIRE_UP,\n\tWIRE_TEST,"),
        "~ enum wire_state: +WIRE_TEST = 2",
    ),
    edit(
        "enum-value-inserted",
        ("\tWIRE_UP,", "\tWIRE_TEST,\n\tWIRE_UP,"),
        "~ enum wire_state: WIRE_UP 1 -> 2, +WIRE_TEST = 1",
    ),
    edit("enum-value-removed", ("\tWIRE_BROKEN = 9,\n", ""), "~ enum wire_state: -WIRE_BROKEN = 9"),
    edit(
        "enum-value-changed",
        ("WIRE_BROKEN = 9", "WIRE_BROKEN = 10"),
        "~ enum wire_state: WIRE_BROKEN 9 -> 10",
    ),
    edit(
        "enum-value-renamed",
        ("WIRE_BROKEN = 9", "WIRE_FAILED = 9"),
        "~ enum wire_state: WIRE_BROKEN renamed WIRE_FAILED",
    ),
    edit(
        "enum-signed",
        ("\tWIRE_BROKEN = 9", "\tWIRE_BROKEN = -9"),
        "~ enum wire_state: signed, WIRE_BROKEN 9 -> -9",
    ),
    edit(
        "enum-wide",
        ("\tWIRE_BROKEN = 9", "\tWIRE_BROKEN = 1LL << 40"),
        "~ enum wire_state 4 -> 8 bytes: WIRE_BROKEN 9 -> 1099511627776",
        (
            "~ struct wire 104 -> 112 bytes: state 4 -> 8 bytes, bad crosses no cache line "
            "any more, new hole of 4 bytes behind id, 12 members moved"
        ),
    ),
    edit(
        "nameless-enum",
        ("\tWIRE_MAX = 1500", "\tWIRE_MAX = 9000"),
        "~ enum { WIRE_MIN, WIRE_MAX }: WIRE_MAX 1500 -> 9000",
    ),
    # ---- functions ----
    edit(
        "param-added",
        ("wire_reset(struct wire *wire)\n", "wire_reset(struct wire *wire, int hard)\n"),
        ("wire_reset(&wire)", "wire_reset(&wire, 1)"),
        ("WIRE_DOWN;\n", "WIRE_DOWN + hard;\n"),
        "~ void wire_reset(struct wire *wire, int hard): +hard (int)",
    ),
    edit(
        "param-removed",
        (
            (
                "static noinline u32 wire_sum(u32 first, u32 second)\n{\n"
                "\treturn first * 31 + second;"
            ),
            "static noinline u32 wire_sum(u32 second)\n{\n\treturn wire_last + second;",
        ),
        ("wire_sum(wire_ring.head, ", "wire_sum("),
        "~ u32 wire_sum(u32 second): -first (u32)",
    ),
    edit(
        "param-retyped",
        ("size_t len)", "u32 len)"),
        "~ int wire_send(struct wire *wire, const void *data, u32 len): len size_t -> u32",
    ),
    edit(
        "param-renamed",
        ("const void *data, size_t len)", "const void *data, size_t length)"),
        ("+= len", "+= length"),
        ("~ int wire_send(struct wire *wire, const void *data, size_t length): len renamed length"),
    ),
    edit(
        "params-swapped",
        (
            "struct wire *wire, const void *data, size_t len)",
            "const void *data, struct wire *wire, size_t len)",
        ),
        ("wire_send(&wire, NULL,", "wire_send(NULL, &wire,"),
        (
            "~ int wire_send(const void *data, struct wire *wire, size_t len): wire moved "
            "from position 1 to 2"
        ),
    ),
    edit(
        "param-const",
        (
            "wire_send(struct wire *wire, const void *data",
            "wire_send(struct wire *wire, void *data",
        ),
        ("~ int wire_send(struct wire *wire, void *data, size_t len): data const void * -> void *"),
    ),
    edit(
        "return-type",
        ("noinline int wire_send", "noinline long wire_send"),
        (
            "~ long int wire_send(struct wire *wire, const void *data, size_t len): returns "
            "int -> long int"
        ),
    ),
    edit(
        "function-added",
        (
            "int init_module(void)",
            "noinline void wire_extra(void)\n{\n\twire_last++;\n}\n\nint init_module(void)",
        ),
        "+ void wire_extra(void)",
    ),
    edit(
        "function-removed",
        (
            (
                "noinline void wire_reset(struct wire *wire)\n{\n\twire->state = WIRE_DOWN;\n"
                "\twire_last = wire->id;\n\twire_counters.packets = 0;\n}\n"
            ),
            "",
        ),
        ("\twire_reset(&wire);\n", "\twire_last = wire_counters.packets;\n"),
        "- void wire_reset(struct wire *wire)",
    ),
    edit(
        "function-renamed",
        ("noinline void wire_reset(", "noinline void wire_clear("),
        ("\twire_reset(&wire)", "\twire_clear(&wire)"),
        "- void wire_reset(struct wire *wire)",
        "+ void wire_clear(struct wire *wire)",
    ),
    edit("static-to-global", ("static noinline u32 wire_sum", "noinline u32 wire_sum")),
    # ---- percpu variables ----
    edit(
        "percpu-added",
        (
            "DEFINE_PER_CPU(u32, wire_last);",
            "DEFINE_PER_CPU(u32, wire_last);\nDEFINE_PER_CPU(u64, wire_more);",
        ),
        "+ u64 wire_more",
        "~ u32 wire_last: at .data..percpu+0 -> .data..percpu+8",
    ),
    edit(
        "percpu-removed",
        ("DEFINE_PER_CPU(struct wire_stats, wire_counters);\n", ""),
        ("\twire_counters.packets = 0;\n", ""),
        "- struct wire_stats wire_counters",
    ),
    edit(
        "percpu-retyped",
        ("DEFINE_PER_CPU(u32, wire_last);", "DEFINE_PER_CPU(u64, wire_last);"),
        "~ u64 wire_last: u32 -> u64, 4 -> 8 bytes",
    ),
    edit(
        "percpu-to-plain",
        ("DEFINE_PER_CPU(u32, wire_last);", "u32 wire_last;"),
        "- u32 wire_last",
        "~ struct wire_stats wire_counters: at .data..percpu+16 -> .data..percpu+0",
    ),
    edit(
        "percpu-moved",
        (
            "DEFINE_PER_CPU(struct wire_stats, wire_counters);\nDEFINE_PER_CPU(u32, wire_last);",
            "DEFINE_PER_CPU(u32, wire_last);\nDEFINE_PER_CPU(struct wire_stats, wire_counters);",
        ),
        "~ struct wire_stats wire_counters: at .data..percpu+16 -> .data..percpu+0",
        "~ u32 wire_last: at .data..percpu+0 -> .data..percpu+16",
    ),
    # ---- types of vmlinux, seen otherwise by this module ----
    edit(
        "type-of-the-base-changed-here",
        (
            "#include <linux/netdevice.h>",
            "#define mtu largest\n#include <linux/netdevice.h>\n#undef mtu",
        ),
        "~ struct net_device 96 bytes: vmlinux has another one, mtu renamed largest",
    ),
    edit(
        "type-of-the-base-grew-here",
        (
            "#include <linux/netdevice.h>",
            "#define mtu mtu, extra[3]\n#include <linux/netdevice.h>\n#undef mtu",
        ),
        (
            "~ struct net_device 96 -> 112 bytes: vmlinux has another one, +extra (unsigned "
            "int[3]) at 48, dev_addr crosses into cache line 1, dev_list crosses no cache "
            "line any more, hole behind dev_addr 2 -> 6 bytes, 5 members moved"
        ),
    ),
    edit(
        "own-type-under-a-name-of-the-base",
        (
            "struct wire_ring wire_ring;",
            "struct wire_ring wire_ring;\nstruct inode { u32 number; } wire_inode;",
        ),
        "+ struct inode 4 bytes: vmlinux has another one",
    ),
)
