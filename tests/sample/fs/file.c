/* Reading a file, and a device to read from. */
#include <linux/fs.h>

struct poll_table {
	void (*qproc)(struct file *, struct poll_table *);
	u32 key;
};

static const struct file_operations *chrdevs[32];

ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos)
{
	if (!file->f_op || !file->f_op->read)
		return -22;
	return file->f_op->read(file, buf, count, pos);
}

int register_chrdev(unsigned int major, const char *name, const struct file_operations *fops)
{
	if (major >= ARRAY_SIZE(chrdevs) || !*name)
		return -16;
	chrdevs[major] = fops;
	return 0;
}
