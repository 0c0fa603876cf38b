/* What decides whether a function is encoded, and as what. */
#include "shared.h"

int sink;
#define touch(x) asm volatile("" : : "r"(x) : "memory")

/* ---- prototypes ---- */
void takes_nothing(void) { sink++; }
int takes_anything() { return sink; }
int old_style(a, b, c) int a; char b; struct node *c; { return a + b + (c != 0); }
int variadic(const char *format, ...) { return format[0]; }
const volatile struct tree *returns_chain(const struct node *const restrict node)
{
	return node->tree;
}
void takes_function(int (*fn)(struct node *, ...), int array[4], void (*(*nested)(int))(char))
{
	fn(0, array[0], nested);
}
_Noreturn void never_returns(void) { for (;;) sink++; }
enum order { ASCENDING, DESCENDING } takes_enum(enum order order) { return !order; }
long double takes_floats(float f, double d, long double l) { return f + d + l; }
flag_t unnamed_parameter(int, void *unused);
flag_t unnamed_parameter(int used_one, void *unused) { return used_one; }

/* ---- more parameters than there are registers ---- */
int many(int a, int b, int c, int d, int e, int f, int g, int h, int i, long j)
{
	return a + b + c + d + e + f + g + h + i + j;
}

/* ---- structs by value ---- */
struct small { int a, b; };
struct large { long a[8]; };
struct packed packed_small { char c; int i; short s; };
typedef struct packed_small packed_small_t;
union either { int i; float f; };
struct small by_value(struct small s, struct large l, union either u)
{
	s.a += l.a[3] + u.i;
	return s;
}
struct large returns_large(int n) { struct large l = { { n } }; return l; }
/* packed, on the stack: where it lies cannot be told */
int packed_on_stack(int a, int b, int c, int d, int e, int f, int g, int h, struct packed_small s)
{
	return a + b + c + d + e + f + g + h + s.i;
}
/* the same through a typedef is not looked through */
int typedef_on_stack(int a, int b, int c, int d, int e, int f, int g, int h, packed_small_t s)
{
	return a + b + c + d + e + f + g + h + s.i;
}
int packed_in_front(struct packed_small s, int b) { return s.i + b; }

/* ---- parameters in other registers than the convention says ---- */
static noinline used int unused_first(int unused, int second, int third)
{
	touch(second);
	return third * 3;
}
static noinline int constant_first(int constant, int second)
{
	touch(second);
	return constant + second * 3;
}
static noinline int members_only(struct small *s, int n)
{
	touch(n);
	return s->b * n;
}
int callers(int n)
{
	struct small s = { n, n };

	return unused_first(1, n, n) + constant_first(4, n) + constant_first(4, n + 1) +
	       members_only(&s, n) + members_only(&s, n + 1);
}

/* ---- clones with parts split off ---- */
void cold_path(const char *) __attribute__((cold));
noinline used int has_cold_part(int n)
{
	if (__builtin_expect(n == 42, 0)) {
		cold_path("a");
		cold_path("b");
		sink = n;
	}
	return n + 1;
}

/* ---- one name, several symbols ---- */
int strong(int a) { return a; }
int weak_one(int a) __attribute__((weak));
int weak_one(int a) { return a + 1; }
int alias_of_strong(int a) __attribute__((alias("strong")));
int weak_alias(int a) __attribute__((weak, alias("strong")));
section(".init.text") int in_init(struct node *n) { return n != 0; }
section(".exit.text") void in_exit(void) { sink--; }
static noinline used int twice_static(int a) { touch(a); return a + 5; }
static noinline used int twice_same(struct node *n) { touch(n); return 1; }

/* ---- inlined, here and out of line elsewhere ---- */
static inline __attribute__((always_inline)) int always_inlined(int deep)
{
	struct only_in_inline { int a, b; } s = { deep, sink };

	touch(&s);
	return s.a;
}
int inliner(struct list *l, int n)
{
	list_init(l);
	return always_inlined(n) + always_inlined(n + 1);
}

#if defined(__GNUC__) && !defined(__clang__)
/* ---- a function inside a function ---- */
int outer(int n)
{
	noinline int nested(int k) { touch(k); return n + k; }

	return nested(n) + nested(n + 1);
}
#endif
