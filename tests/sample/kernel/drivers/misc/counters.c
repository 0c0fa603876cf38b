/* Per-processor variables in a module: the first at offset 0, static and global ones, an array. */
#include <linux/module.h>
#include <linux/percpu.h>

struct counter {
	u64 value;
	struct {
		u32 overflows;
		u32 resets;
	} seen;
};

DEFINE_PER_CPU(struct counter, counters_total);
static DEFINE_PER_CPU(struct counter, counters_each[8]);
static DEFINE_PER_CPU(bool, counters_on);
DEFINE_PER_CPU(struct counter *, counters_last);

void counters_count(unsigned which)
{
	if (!counters_on)
		return;
	counters_last = &counters_each[which % ARRAY_SIZE(counters_each)];
	counters_last->value++;
	counters_total.value++;
}

int init_module(void)
{
	counters_on = true;
	return (int)cpu_number;
}
