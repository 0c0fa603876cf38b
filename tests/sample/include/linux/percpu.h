/* Variables that every processor has for itself. */
#ifndef SAMPLE_PERCPU_H
#define SAMPLE_PERCPU_H

#include <linux/types.h>

#define DEFINE_PER_CPU(type, name) __section(".data..percpu") __typeof__(type) name
#define DECLARE_PER_CPU(type, name) extern __attribute__((section(".data..percpu"))) __typeof__(type) name

struct cpu_stat {
	u64 ticks[4];
	atomic_t running;
	const struct task *current;
};

DECLARE_PER_CPU(struct cpu_stat, cpu_stat);
DECLARE_PER_CPU(unsigned long, cpu_number);

#endif
