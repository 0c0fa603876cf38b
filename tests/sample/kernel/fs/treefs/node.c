/* Looking for a name. */
#include "treefs.h"

static int compare(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a - *b;
}

struct tree_node *tree_find(struct tree_dir *dir, const char *name)
{
	struct tree_node *node = dir->root;

	while (node) {
		int order = compare(name, node->name);

		if (!order)
			break;
		node = order < 0 ? node->left : node->right;
	}
	return node;
}
