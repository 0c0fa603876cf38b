/* See protos_one.c. */
#include <linux/module.h>

static noinline __used int pick(long seed, int round)
{
	return (int)(seed >> round);
}

static noinline __used long agree(long value)
{
	return value ^ 1;
}

int pick_two(long seed)
{
	return pick(seed, 3) + agree(seed);
}
