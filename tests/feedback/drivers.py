"""Edits of drivers of Linux 6.1, each with what has to be said about it, word by word.

Every occurrence of a text is replaced. Debian's source package changes with each security update;
an edit whose text is gone says so.
"""

from __future__ import annotations

from tests.feedback.edits import Edit, edit

#: Of the kernel, and of its source package.
SERIES = "6.1"
SOURCES = {
    "veth": "drivers/net/veth.c",
    "ifb": "drivers/net/ifb.c",
    "dummy": "drivers/net/dummy.c",
    "loop": "drivers/block/loop.c",
}

VETH = (
    edit(
        "comment",
        (
            "\t/* xdp */\n",
            "\t/* what XDP did */\n",
        ),
    ),
    edit(
        "constant-in-a-body",
        (
            "= SPEED_10000;",
            "= SPEED_25000;",
        ),
    ),
    edit(
        "message",
        (
            '#define DRV_VERSION\t"1.0"',
            '#define DRV_VERSION\t"1.1"',
        ),
    ),
    edit(
        "statement",
        (
            "\tatomic64_inc(&priv->dropped);",
            "\tatomic64_add(1, &priv->dropped);",
        ),
    ),
    edit(
        "macro-that-no-type-has",
        (
            "VETH_RING_SIZE\t\t256",
            "VETH_RING_SIZE\t\t512",
        ),
    ),
    edit(
        "counter-at-the-end",
        (
            "\tu64\tpeer_tq_xdp_xmit_err;\n};",
            "\tu64\tpeer_tq_xdp_xmit_err;\n\tu64\tlate;\n};",
        ),
        "~ struct veth_stats 72 -> 80 bytes: +late (u64) at 72",
        (
            "~ struct veth_rq 768 -> 832 bytes: stats 72 -> 80 bytes, hole behind "
            "rx_notify_masked 7 -> 63 bytes, 3 members moved"
        ),
        "~ struct veth_rq_stats 72 -> 80 bytes: vs 72 -> 80 bytes, syncp moved 72 -> 80",
    ),
    edit(
        "counter-in-front",
        (
            "\tu64\trx_drops;\n",
            "\tu32\tkind;\n\tu64\trx_drops;\n",
        ),
        (
            "~ struct veth_stats 72 -> 80 bytes: +kind (u32) at 0, new hole of 4 bytes behind "
            "kind, 9 members moved by +8 bytes"
        ),
        (
            "~ struct veth_rq 768 -> 832 bytes: stats 72 -> 80 bytes, hole behind "
            "rx_notify_masked 7 -> 63 bytes, 3 members moved"
        ),
        "~ struct veth_rq_stats 72 -> 80 bytes: vs 72 -> 80 bytes, syncp moved 72 -> 80",
    ),
    edit(
        "macro-of-an-array",
        (
            "VETH_XDP_TX_BULK_SIZE\t16",
            "VETH_XDP_TX_BULK_SIZE\t8",
        ),
        (
            "~ struct veth_xdp_tx_bq 136 -> 72 bytes: q struct xdp_frame *[16] -> struct "
            "xdp_frame *[8], count moved 128 -> 64"
        ),
    ),
    edit(
        "flag-into-a-hole",
        (
            "\tbool\t\t\trx_notify_masked;\n",
            "\tbool\t\t\trx_notify_masked;\n\tbool\t\t\tbusy;\n",
        ),
        (
            "~ struct veth_rq 768 bytes: +busy (bool) at 505, new hole of 6 bytes behind busy, "
            "no hole of 7 bytes behind rx_notify_masked any more"
        ),
    ),
    edit(
        "narrower",
        (
            "\tunsigned int\t\trequested_headroom;",
            "\tu16\t\t\trequested_headroom;",
        ),
        (
            "~ struct veth_priv 40 bytes: requested_headroom unsigned int -> u16, padding 4 -> "
            "6 bytes"
        ),
    ),
    edit(
        "member-elsewhere",
        (
            "\tbool\t\t\trx_notify_masked;\n",
            "",
        ),
        (
            "struct veth_rq {\n",
            "struct veth_rq {\n\tbool\t\t\trx_notify_masked;\n",
        ),
        "~ struct veth_rq 768 bytes: 7 members moved",
    ),
    edit(
        "member-renamed",
        (
            "\tatomic64_t\t\tdropped;",
            "\tatomic64_t\t\tlost;",
        ),
        (
            "priv->dropped",
            "priv->lost",
        ),
        "~ struct veth_priv 40 bytes: dropped renamed lost",
    ),
    edit(
        "parameter-renamed",
        (
            "napi_already_on",
            "is_running",
        ),
        (
            "~ int veth_enable_xdp_range(struct net_device *dev, int start, int end, bool "
            "is_running): napi_already_on renamed is_running"
        ),
    ),
    edit(
        "percpu-variable",
        (
            "struct veth_stats {",
            "DEFINE_PER_CPU(u64, veth_seen);\n\nstruct veth_stats {",
        ),
        "+ u64 veth_seen",
    ),
)

IFB = (
    edit(
        "comment",
        (
            "/* For ethtools stats. */",
            "/* For ethtool. */",
        ),
    ),
    edit(
        "narrower-pair",
        (
            "\tint\t\t\ttasklet_pending;\n\tint\t\t\ttxqnum;",
            "\tu16\t\t\ttasklet_pending;\n\tu16\t\t\ttxqnum;",
        ),
        (
            "~ struct ifb_q_private 192 bytes: tasklet_pending int -> u16, txqnum int -> u16, "
            "new hole of 4 bytes behind txqnum"
        ),
    ),
    edit(
        "alignment-gone",
        (
            "} ____cacheline_aligned_in_smp;",
            "};",
        ),
        "~ struct ifb_q_private 192 -> 136 bytes: padding 56 -> 0 bytes",
    ),
    edit(
        "two-members-an-array",
        (
            "struct ifb_q_stats\trx_stats;\n\tstruct ifb_q_stats\ttx_stats;",
            "struct ifb_q_stats\tstats[2];",
        ),
        (
            "txp->rx_stats",
            "txp->stats[0]",
        ),
        (
            "txp->tx_stats",
            "txp->stats[1]",
        ),
        (
            "~ struct ifb_q_private 192 bytes: -rx_stats (struct ifb_q_stats) at 104, "
            "-tx_stats (struct ifb_q_stats) at 120, +stats (struct ifb_q_stats[2]) at 104, "
            "stats crosses into cache line 2"
        ),
    ),
)

DUMMY = (
    edit(
        "variable-that-btf-has-not",
        (
            "static int numdummies = 1;",
            "static unsigned int numdummies = 1;",
        ),
    ),
    edit(
        "blank-lines",
        (
            "static int numdummies",
            "\n\n\nstatic int numdummies",
        ),
    ),
    edit(
        "new-function",
        (
            "/* fake multicast ability */",
            (
                "struct dummy_note { u32 kind; u64 when; };\nvoid dummy_note(struct dummy_note "
                "*note);\nnoinline void dummy_note(struct dummy_note *note)\n{\n\tnote->kind = "
                "numdummies;\n}\n\n/* fake multicast ability */"
            ),
        ),
        "+ void dummy_note(struct dummy_note *note)",
        "+ struct dummy_note 16 bytes",
    ),
)

LOOP = (
    edit(
        "comment",
        (
            "/* Possible states of device */",
            "/* States of a device */",
        ),
    ),
    edit(
        "constant",
        (
            "LOOP_IDLE_WORKER_TIMEOUT (60 * HZ)",
            "LOOP_IDLE_WORKER_TIMEOUT (30 * HZ)",
        ),
    ),
    edit(
        "enum-value-in-between",
        (
            "\tLo_rundown,\n\tLo_deleting,",
            "\tLo_rundown,\n\tLo_frozen,\n\tLo_deleting,",
        ),
        "~ enum { Lo_unbound, Lo_bound, Lo_rundown, … }: Lo_deleting 3 -> 4, +Lo_frozen = 3",
    ),
    edit(
        "hole-by-narrowing",
        (
            "\tlong ret;\n",
            "\tint ret;\n",
        ),
        "~ struct loop_cmd 104 bytes: ret long int -> int, new hole of 4 bytes behind ret",
    ),
    edit(
        "longer-name",
        (
            "lo_file_name[LO_NAME_SIZE]",
            "lo_file_name[2 * LO_NAME_SIZE]",
        ),
        (
            "~ struct loop_device 480 -> 544 bytes: lo_file_name char[64] -> char[128], 19 "
            "members moved by +64 bytes"
        ),
    ),
    edit(
        "typedef-of-another-sign",
        (
            "\tloff_t\t\tlo_sizelimit;",
            "\tu64\t\tlo_sizelimit;",
        ),
        "~ struct loop_device 480 bytes: lo_sizelimit loff_t -> u64",
    ),
    edit(
        "two-together",
        (
            "\tbool\t\t\tidr_visible;\n};",
            "};",
        ),
        (
            "\tbool\t\t\tsysfs_inited;\n",
            "\tbool\t\t\tsysfs_inited;\n\tbool\t\t\tidr_visible;\n",
        ),
        (
            "~ struct loop_device 480 -> 472 bytes: idr_visible moved 472 -> 250, new hole of "
            "5 bytes behind idr_visible, no hole of 6 bytes behind sysfs_inited any more, "
            "padding 7 -> 0 bytes"
        ),
    ),
    edit(
        "bitfields",
        (
            "\tbool\t\t\tuse_dio;\n\tbool\t\t\tsysfs_inited;\n",
            "\tunsigned\t\tuse_dio:1;\n\tunsigned\t\tsysfs_inited:1;\n",
        ),
        (
            "~ struct loop_device 480 bytes: use_dio bool -> unsigned int:1, sysfs_inited bool "
            "-> unsigned int:1, hole behind sysfs_inited 48 -> 62 bits"
        ),
    ),
    edit(
        "parameter-retyped",
        (
            "bool delete_all)\n{",
            "int delete_all)\n{",
        ),
        (
            "~ void loop_free_idle_workers(struct loop_device *lo, int delete_all): delete_all "
            "bool -> int"
        ),
    ),
    edit(
        "another-return",
        (
            "static int loop_validate_file(",
            "static long loop_validate_file(",
        ),
        (
            "~ long int loop_validate_file(struct file *file, struct block_device *bdev): "
            "returns int -> long int"
        ),
    ),
)

EDITS: dict[str, tuple[Edit, ...]] = {"veth": VETH, "ifb": IFB, "dummy": DUMMY, "loop": LOOP}
