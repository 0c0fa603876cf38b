/* What makes an object a module. */
#ifndef SAMPLE_MODULE_H
#define SAMPLE_MODULE_H

#include <linux/types.h>

enum module_state {
	MODULE_STATE_LIVE,
	MODULE_STATE_COMING,
	MODULE_STATE_GOING,
	MODULE_STATE_UNFORMED,
};

struct kernel_symbol {
	unsigned long value;
	const char *name;
};

struct module {
	enum module_state state;
	struct list_head list;
	char name[64 - sizeof(unsigned long)];
	const struct kernel_symbol *syms;
	unsigned int num_syms;
	int (*init)(void);
	void (*exit)(void);
	refcount_t refcnt;
};

extern struct module __this_module;

#define MODULE_INFO(tag, text) \
	static const char __modinfo_##tag[] __section(".modinfo") = #tag "=" text

#endif
