/* Functions that gcc replaces by clones: .constprop (an argument that is always the same), .isra
 * (a pointer that is only read through). */
#include <linux/module.h>

struct pair {
	int first, second;
};

static noinline int scaled(int value, int factor, int shift)
{
	int sum = 0;

	for (int i = 0; i < value; i++)
		sum += (i * factor) >> shift;
	return sum;
}

static noinline int sum_of(const struct pair *pair, int times)
{
	int sum = pair->first;

	for (int i = 0; i < times; i++)
		sum ^= (sum << 3) + i;
	return sum;
}

int clones_run(struct pair *pair, int n)
{
	return scaled(n, 3, 1) + scaled(n + 1, 3, 1) + sum_of(pair, n) + sum_of(pair, n * 2);
}
