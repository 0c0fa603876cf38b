/* A second CU that disagrees with functions.c, and one that agrees. */
#include "shared.h"

int b_sink;
#define touch(x) asm volatile("" : : "r"(x) : "memory")

/* filler, so that statics of one name lie at different places */
int b_filler(int a) { return a * 17 + b_sink; }

static noinline used int twice_static(int a, int b) { touch(a); return a + b; }
static noinline used int twice_same(struct node *n) { touch(n); return 1; }

/* the same name as in functions.c, another type behind it */
struct small { char other; };
int by_value_b(struct small s) { return s.other; }

/* a typed enum in one, an int in the other */
static noinline used int const_differs(const struct node *n) { touch(n); return 2; }

void (*list_init_b)(struct list *) = list_init;
struct node b_node = { .name = "b" };
