/* clang's tags, wherever it takes them. */
#include "shared.h"

#define decl(text) __attribute__((btf_decl_tag(text)))
#if __has_attribute(btf_type_tag)
#define type(text) __attribute__((btf_type_tag(text)))
#else
#define type(text)
#endif

struct tagged {
	int plain;
	int member decl("on member");
	int type("rcu") *pointer;
	struct tagged type("user") *type("percpu") *nested decl("both") decl("twice");
	struct { int inner decl("on inner"); } decl("on anonymous");
	unsigned bit : 3 decl("on bit");
} decl("on struct") decl("again");

union tagged_union {
	int a decl("on union member");
	char b;
} decl("on union");

typedef struct tagged tagged_t decl("on typedef");
typedef int type("a") type("b") *two_tags;
typedef void type("to void") *void_tag;

percpu int variable decl("on variable") = 1;
int other_variable decl("on other") = 2;
struct tagged object;
union tagged_union union_object;
tagged_t *typedef_object;
two_tags two_object;
void_tag void_object;
const int type("qualified") *const qualified_object;
int (*type("to function") function_object)(int type("param") *);

int function(int first, tagged_t *second decl("on parameter"), int type("x") *third)
	decl("on function");
int function(int first, tagged_t *second decl("on parameter"), int type("x") *third)
{
	return first + second->plain + *third;
}
