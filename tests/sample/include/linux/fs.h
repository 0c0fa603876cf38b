/* Files and the functions behind them. */
#ifndef SAMPLE_FS_H
#define SAMPLE_FS_H

#include <linux/types.h>

struct inode;
struct file;
struct module;
struct dentry;
struct super_block;
struct poll_table;

enum rw_hint {
	WRITE_LIFE_NOT_SET,
	WRITE_LIFE_NONE,
	WRITE_LIFE_SHORT,
	WRITE_LIFE_LONG = 5,
} __packed;

typedef int (*filldir_t)(void *ctx, const char *name, int len, loff_t offset, u64 ino, unsigned type);

struct file_operations {
	struct module *owner;
	loff_t (*llseek)(struct file *, loff_t, int);
	ssize_t (*read)(struct file *, char *, size_t, loff_t *);
	ssize_t (*write)(struct file *, const char *, size_t, loff_t *);
	int (*iterate)(struct file *, filldir_t, void *);
	unsigned int (*poll)(struct file *, struct poll_table *);
	int (*open)(struct inode *, struct file *);
	int (*release)(struct inode *, struct file *);
};

struct address_space {
	struct inode *host;
	struct rb_root pages;
	unsigned long nrpages;
	gfp_t gfp_mask;
};

struct inode {
	umode_t i_mode;
	u16 i_opflags;
	const struct file_operations *i_fop;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	struct address_space i_data;
	spinlock_t i_lock;
	enum rw_hint i_write_hint;
	union {
		const unsigned int i_nlink;
		unsigned int __i_nlink;
	};
	union {
		struct hlist_head i_dentry;
		struct rcu_head i_rcu;
	};
	struct list_head i_list;
	void *i_private;
};

struct file {
	struct dentry *f_dentry;
	struct inode *f_inode;
	const struct file_operations *f_op;
	spinlock_t f_lock;
	refcount_t f_count;
	unsigned int f_flags;
	loff_t f_pos;
	void *private_data;
};

struct super_operations {
	struct inode *(*alloc_inode)(struct super_block *sb);
	void (*destroy_inode)(struct inode *);
	int (*statfs)(struct dentry *, u64 (*)[8]);
};

struct super_block {
	struct list_head s_list;
	dev_t s_dev;
	unsigned char s_blocksize_bits;
	const struct super_operations *s_op;
	struct list_head s_inodes;
	char s_id[32];
	void *s_fs_info;
};

ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos);
int register_chrdev(unsigned int major, const char *name, const struct file_operations *fops);

#endif
