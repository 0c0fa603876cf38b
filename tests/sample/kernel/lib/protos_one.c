/* pick() has one prototype here and another in protos_two.c: BTF can name neither. */
#include <linux/module.h>

struct choice {
	int weight;
};

static noinline __used int pick(struct choice *choice)
{
	return choice->weight * 2;
}

/* The same in both files. */
static noinline __used long agree(long value)
{
	return value ^ 1;
}

int pick_one(struct choice *choice)
{
	return pick(choice) + agree(choice->weight);
}
