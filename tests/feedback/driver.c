/* What the edits of edits.py are made to. */
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/percpu.h>

enum wire_state {
	WIRE_DOWN,
	WIRE_UP,
	WIRE_BROKEN = 9,
};

enum {
	WIRE_MIN = 64,
	WIRE_MAX = 1500,
};

typedef u32 wire_id_t;

struct wire_stats {
	u64 packets;
	u64 bytes;
};

struct wire_ops {
	int (*open)(struct net_device *dev);
	void (*close)(struct net_device *dev, int why);
};

struct wire_flags {
	u32 up:1;
	u32 speed:4;
	u32 duplex:2;
};

union wire_word {
	u32 whole;
	u16 half[2];
};

struct wire_ring {
	u32 head;
	u32 tail;
	u8 slots[48];
	u64 doorbell;
	u64 budget;
};

struct wire {
	struct net_device *dev;
	wire_id_t id;
	enum wire_state state;
	struct wire_stats rx, tx;
	const struct wire_ops *ops;
	union {
		u32 raw;
		struct {
			u16 low;
			u16 high;
		};
	};
	struct {
		u32 drops;
		u32 errors;
	} bad;
	struct list_head queue;
	bool carrier;
	struct wire_flags flags;
	union wire_word word;
};

DEFINE_PER_CPU(struct wire_stats, wire_counters);
DEFINE_PER_CPU(u32, wire_last);

struct wire_ring wire_ring;

noinline int wire_send(struct wire *wire, const void *data, size_t len)
{
	wire->tx.packets++;
	wire->tx.bytes += len + (data != NULL);
	return wire->state == WIRE_UP ? WIRE_MAX : WIRE_MIN;
}

noinline void wire_reset(struct wire *wire)
{
	wire->state = WIRE_DOWN;
	wire_last = wire->id;
	wire_counters.packets = 0;
}

static noinline u32 wire_sum(u32 first, u32 second)
{
	return first * 31 + second;
}

int init_module(void)
{
	static struct wire wire;

	wire_reset(&wire);
	return wire_send(&wire, NULL, wire_sum(wire_ring.head, wire_ring.tail));
}
