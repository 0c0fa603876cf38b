/* Bit fields, in all the places where they are awkward. */
#include <linux/module.h>

enum bits_mode { MODE_OFF, MODE_ON, MODE_AUTO = 3 };

struct bits_plain {
	u32 a:1, b:2, c:29;
	u8 d:4, e:4;
	s16 f:3;
	bool g:1;
	enum bits_mode mode:2;
};

struct bits_gaps {
	u64 low:40;
	u64 :0;
	u64 high:24;
	unsigned :5;
	unsigned after_gap:7;
	u8 whole;
};

struct bits_packed {
	u8 head;
	u32 straddles:26;
	u64 far:38;
} __packed;

union bits_register {
	u32 raw;
	struct {
		u32 enable:1;
		u32 irq:1;
		u32 divider:12;
		u32 :2;
		u32 vector:16;
	};
};

struct bits_state {
	struct bits_plain plain;
	struct bits_gaps gaps[2];
	struct bits_packed packed;
	union bits_register reg;
};

struct bits_state bits_state;

int bits_set(struct bits_state *state, union bits_register reg)
{
	state->reg = reg;
	state->plain.mode = reg.enable ? MODE_ON : MODE_OFF;
	state->packed.straddles = reg.vector;
	return state->gaps[0].after_gap;
}
