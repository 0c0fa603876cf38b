/* Basic types, in the kernel's manner. */
#ifndef SAMPLE_TYPES_H
#define SAMPLE_TYPES_H

typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
typedef unsigned __int128 u128;

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ssize_t;
typedef s64 loff_t;
typedef u32 dev_t;
typedef unsigned short umode_t;
typedef u16 __be16;
typedef u32 __be32;
typedef unsigned int gfp_t;

#define noinline __attribute__((__noinline__))
#define __used __attribute__((__used__))
#define __section(name) __attribute__((section(name), used))
#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define offsetof(type, member) __builtin_offsetof(type, member)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

struct callback_head {
	struct callback_head *next;
	void (*func)(struct callback_head *head);
} __aligned(sizeof(void *));
#define rcu_head callback_head

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

typedef struct raw_spinlock {
	union {
		atomic_t val;
		struct {
			u8 locked;
			u8 pending;
		};
		struct {
			u16 locked_pending;
			u16 tail;
		};
	} raw_lock;
} raw_spinlock_t;

typedef struct spinlock {
	union {
		struct raw_spinlock rlock;
	};
} spinlock_t;

struct rb_node {
	unsigned long __rb_parent_color;
	struct rb_node *rb_right;
	struct rb_node *rb_left;
} __aligned(sizeof(long));

struct rb_root {
	struct rb_node *rb_node;
};

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list;
	list->prev = list;
}

void list_add(struct list_head *entry, struct list_head *head);
void list_del(struct list_head *entry);
bool list_empty(const struct list_head *head);
void hlist_add_head(struct hlist_node *n, struct hlist_head *h);

#endif
