/* A file system: tables of functions over recursive types. */
#include "treefs.h"

static struct inode *tree_alloc_inode(struct super_block *sb)
{
	struct tree_dir *dir = sb->s_fs_info;

	dir->find = tree_find;
	return &dir->vfs_inode;
}

static ssize_t tree_read(struct file *file, char *buf, size_t count, loff_t *pos)
{
	struct tree_dir *dir = container_of(file->f_inode, struct tree_dir, vfs_inode);

	*pos += count;
	return dir->root->visit(dir->root, NULL);
}

const struct super_operations tree_sops = { .alloc_inode = tree_alloc_inode };
const struct file_operations tree_fops = { .owner = &__this_module, .read = tree_read };

int init_module(void)
{
	return register_chrdev(7, "treefs", &tree_fops);
}
