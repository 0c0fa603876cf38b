/* Has a struct clash, and so has clash_beta: two types of one name. */
#include <linux/module.h>

struct clash {
	int id;
	const char *label;
	struct clash *peer;
};

struct clash_user {
	struct clash inner;
	struct list_head link;
};

struct clash_user clash_alpha_user;

int clash_lookup(struct clash *clash, int id)
{
	return clash->peer && clash->peer->id == id;
}
