/* Types that refer to themselves and to each other. */
#ifndef TREEFS_H
#define TREEFS_H

#include <linux/fs.h>
#include <linux/module.h>

struct tree_dir;

struct tree_node {
	struct tree_node *left, *right;
	struct tree_node **slot;
	struct tree_dir *dir;
	int (*visit)(struct tree_node *node, int (*next)(struct tree_node *));
	char name[];
};

struct tree_dir {
	struct tree_node *root;
	struct tree_dir *parent;
	struct tree_node *(*find)(struct tree_dir *dir, const char *name);
	struct inode vfs_inode;
	struct tree_journal *journal;	/* never defined here */
};

struct tree_node *tree_find(struct tree_dir *dir, const char *name);
extern const struct file_operations tree_fops;

#endif
