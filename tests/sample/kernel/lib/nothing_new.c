/* Every type here is in the image already, the prototype of its function apart. */
#include <linux/fs.h>
#include <linux/module.h>

int nothing_new(struct inode *inode)
{
	return inode->i_mode;
}
