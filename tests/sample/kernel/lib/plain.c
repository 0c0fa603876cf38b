/* Compiled without debug information. */
#include <linux/module.h>

int plain_add(int a, int b)
{
	return a + b;
}
