/* What several sources declare alike, so that deduplication over CUs and over a base has work. */
#ifndef SHARED_H
#define SHARED_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool flag_t;

#define section(name) __attribute__((section(name)))
#define packed __attribute__((packed))
#define used __attribute__((used))
#define noinline __attribute__((noinline))
#define percpu section(".data..percpu")

struct list {
	struct list *next, *prev;
};

/* A ring of structs: no CU can be merged with another before all of it is. */
struct node {
	struct list siblings;
	struct tree *tree;
	const char *name;
	int (*visit)(struct node *, void *, u32 flags);
};

struct tree {
	struct node *root;
	struct node *(*find)(const struct tree *, const char *);
	u64 count;
};

/* Inlined in some CUs, out of line in others. */
static inline void list_init(struct list *list)
{
	list->next = list;
	list->prev = list;
}

#endif
