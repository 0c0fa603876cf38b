/* Complex numbers, which BTF has no kind for. */
#include "shared.h"

struct signal {
	_Complex float single;
	_Complex double twice;
	int plain;
};

struct signal signal;
_Complex long double widest;
struct node *after;

double magnitude(struct signal *s) { return __real__ s->twice; }
