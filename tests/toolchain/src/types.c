/* Every type that C has and BTF can express, each with a global of its own to keep it. */
#include "shared.h"

#define keep(type, name) used type name

/* ---- scalars ---- */
keep(char, a_char);
keep(signed char, a_signed_char);
keep(unsigned char, an_unsigned_char);
keep(_Bool, a_bool);
keep(short, a_short);
keep(unsigned short, an_unsigned_short);
keep(long, a_long);
keep(unsigned long, an_unsigned_long);
keep(long long, a_long_long);
keep(__WCHAR_TYPE__, a_wchar);
keep(float, a_float);
keep(double, a_double);
keep(long double, a_long_double);
#ifdef __SIZEOF_INT128__
keep(__int128, an_int128);
keep(unsigned __int128, an_unsigned_int128);
#endif
#ifdef __FLT16_MAX__
keep(_Float16, a_float16);
#endif
#ifdef __SIZEOF_FLOAT128__
keep(__float128, a_float128);
#endif
typedef int vector __attribute__((vector_size(16)));
keep(vector, a_vector);

/* ---- qualifiers, pointers, typedefs ---- */
keep(const volatile int, a_const_volatile);
keep(const volatile int *const volatile *, a_chain);
keep(char *restrict *const, a_restrict);
keep(const void *, a_const_void);
keep(volatile void *const *, a_volatile_void);
typedef void nothing;
keep(const nothing *, a_typedefed_void);
typedef struct recursive recursive_t;
typedef recursive_t *(*recursive_fn)(recursive_t **, recursive_t *);
struct recursive {
	recursive_t *self;
	recursive_fn fn;
	const struct recursive *const *table;
};
keep(recursive_t, a_recursive);

/* ---- arrays ---- */
keep(int, an_array[7]);
keep(int, a_matrix[2][3][4]);
typedef int row[3];
keep(row, typedefed_rows[2]);
keep(const char *const, a_text_table[]) = { "a", "b" };
extern int of_unknown_length[];
keep(int *, points_to_unknown) = of_unknown_length;
struct tail_flexible { int n; short tail[]; };
struct tail_zero { int n; short tail[0]; };
struct tail_one { int n; short tail[1]; };
struct flexible_matrix { int n; int tail[][4]; };
keep(struct tail_flexible, a_tail_flexible) = { 2, { 1, 2 } };
keep(struct tail_zero, a_tail_zero);
keep(struct tail_one, a_tail_one);
keep(struct flexible_matrix *, a_flexible_matrix);
keep(struct list, lists[0x10]);

/* ---- structs and unions ---- */
struct empty {};
keep(struct empty, an_empty);
struct declared_only;
union union_declared_only;
keep(struct declared_only *, a_declared_struct);
keep(union union_declared_only *, a_declared_union);
struct anonymous_inside {
	int kind;
	union {
		int number;
		struct {
			short low, high;
		};
		union {
			char text[4];
			struct { u8 a, b; } pair;
		} deeper;
	};
	struct {
		int :0;
	};
	enum { ANONYMOUS_A, ANONYMOUS_B = 5 } which;
};
keep(struct anonymous_inside, an_anonymous);
keep(struct { int only_here; }, an_anonymous_struct);
keep(union { int as_int; float as_float; }, an_anonymous_union);
struct packed packed_struct { char c; int i; u64 l; short s[3]; };
keep(struct packed_struct, a_packed);
struct aligned_struct { char c; int i __attribute__((aligned(64))); };
keep(struct aligned_struct, an_aligned);
typedef struct { struct tree *tree; } *tree_handle;
keep(tree_handle, a_handle);

/* ---- bitfields ---- */
struct bits {
	int a : 1;
	unsigned b : 3;
	int : 2;
	u64 c : 33;
	flag_t d : 1;
	char e : 5;
	short f : 9;
	int g;
	int : 0;
	unsigned long h : 17;
	const volatile unsigned i : 4;
	enum packed { BIT_OFF, BIT_ON } j : 2;
	enum wide_bits { WIDE_A, WIDE_B = 0x100 } k : 10;
};
keep(struct bits, some_bits);
struct packed packed_bits {
	unsigned a : 3;
	u64 b : 47;
	unsigned c : 30;
	u8 d;
	unsigned e : 9;
};
keep(struct packed_bits, some_packed_bits);
union bits_union {
	unsigned a : 5;
	u64 b : 40;
	int whole;
};
keep(union bits_union, a_bits_union);
struct bits_in_anonymous {
	struct { unsigned x : 4, y : 4; };
	union { u8 raw; struct { u8 low : 4, high : 4; }; };
};
keep(struct bits_in_anonymous, bits_below);

/* ---- enums ---- */
enum plain_enum { PLAIN_A, PLAIN_B = 7 };
enum negative_enum { NEGATIVE = -1, POSITIVE = 0x7fffffff };
enum high_enum { HIGH = 0xffffffffu };
enum packed small_enum { SMALL = 0x7f };
enum packed small_negative_enum { SMALL_NEGATIVE = -128 };
enum packed short_enum { SHORT = 0x1234 };
enum wide_enum { WIDE = 0x123456789abcdefULL, WIDE_TOP = 0xffffffffffffffffULL };
enum wide_negative_enum { WIDE_NEGATIVE = -0x123456789LL };
enum declared_enum;
keep(enum plain_enum, a_plain_enum);
keep(enum negative_enum, a_negative_enum);
keep(enum high_enum, a_high_enum);
keep(enum small_enum, a_small_enum);
keep(enum small_negative_enum, a_small_negative_enum);
keep(enum short_enum, a_short_enum);
keep(enum wide_enum, a_wide_enum);
keep(enum wide_negative_enum, a_wide_negative_enum);
keep(enum declared_enum *, a_declared_enum);
keep(enum { TYPELESS = 3 }, an_anonymous_enum);

/* ---- functions as types ---- */
keep(void, (*to_nothing)(void));
keep(void, (*to_anything)());
keep(int, (*to_variadic)(const char *, ...));
keep(int, (*(*returns_function)(int named, char))(long));
typedef int (operation)(struct node *, struct tree *restrict);
keep(operation *, an_operation);
struct operations {
	operation *first;
	int (*second)(struct { int inside; } *, enum { IN_PROTOTYPE } which);
	void (*table[3])(struct operations *);
};
keep(struct operations, some_operations);

/* ---- the shared ones ---- */
keep(struct node, a_node);
keep(struct tree, a_tree);

/* Types that only a function knows. */
noinline used int local_types(int n)
{
	struct local_struct { int a; struct { int b; } inner; } s = { n, { n } };
	typedef struct local_struct local_typedef;
	enum local_enum { LOCAL_A = 3 };
	local_typedef *p = &s;
	volatile int array_of_variable_length[n + 1];

	array_of_variable_length[n] = LOCAL_A;
	{
		union local_union { int i; char c[4]; } u = { .i = n };

		return p->inner.b + u.c[0] + array_of_variable_length[n];
	}
}
