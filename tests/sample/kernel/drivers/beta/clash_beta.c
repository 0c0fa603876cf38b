/* Has a struct clash, and so has clash_alpha; a struct task of its own as well, unlike the image's. */
#include <linux/module.h>

struct clash {
	u64 serial;
	struct hlist_node hash;
	union {
		void *owner;
		unsigned long cookie;
	};
};

struct task {
	int only_in_beta;
	struct task *next;
};

struct task clash_beta_task;

int clash_lookup(struct clash *clash, u64 serial)
{
	return clash->serial == serial && clash->owner != NULL;
}
