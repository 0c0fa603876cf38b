/*
 * _Atomic, which BTF has no kind for. The rest of the file is like any other; with -DPLAIN nothing
 * is atomic.
 */
#include "shared.h"

#ifdef PLAIN
#define atomic(type) type
#else
#define atomic(type) _Atomic(type)
#endif

typedef struct list *list_pointer;

struct counters {
	atomic(int) members;
	int plain;
	atomic(list_pointer) head;
	atomic(list_pointer) *through;
	const atomic(u64) constant;
	atomic(int) array[3];
};

struct counters counters;
atomic(flag_t) an_atomic;
struct node *after;

int bump(struct counters *c, atomic(int) *direct) { return c->plain + *direct; }
