/* Variables by section: what 'var' and 'global_var' take, and what they leave. */
#include "shared.h"

/* at offset 0, where only a symbol tells a variable from a discarded one */
percpu int first_in_percpu = 1;
percpu u64 counter = 2;
static percpu used struct list static_percpu = { 0, 0 };
percpu struct tail { int n; u32 tail[]; } flexible_percpu = { 2, { 1, 2 } };
percpu const char *pointer_percpu = "x";
percpu struct { int a : 3, b : 5; } anonymous_percpu = { 1, 2 };
percpu int __UNIQUE_ID_skipped = 3;
percpu struct empty {} sizeless_percpu;
extern percpu int declared_percpu;
extern percpu long completed_percpu;
percpu long completed_percpu = 5;
section(".data..percpu..page_aligned") int other_percpu = 1;

int in_data = 1;
int in_bss;
const int in_rodata = 7;
static used int static_data = 8;
extern int alias_data __attribute__((alias("in_data")));
int weak_data __attribute__((weak)) = 9;
section(".init.data") struct node in_init_data = { .name = "i" };
section(".data-odd$name") int in_odd_section = 4;
_Thread_local int thread_local_data = 1;
extern int declared_only;

int reader(void)
{
	static int function_static = 3;
	static percpu int function_percpu = 4;

	return declared_only + declared_percpu + function_static++ + function_percpu++ +
	       thread_local_data;
}
