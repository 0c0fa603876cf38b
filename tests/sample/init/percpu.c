/* Per-processor variables of the image. */
#include <linux/percpu.h>

DEFINE_PER_CPU(unsigned long, cpu_number);
DEFINE_PER_CPU(struct cpu_stat, cpu_stat);
static DEFINE_PER_CPU(struct list_head, free_pages[3]);

struct list_head *percpu_pages(unsigned order)
{
	return &free_pages[order % ARRAY_SIZE(free_pages)];
}
