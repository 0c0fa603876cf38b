/* The C half of a module with an assembler file. */
#include <linux/module.h>

struct asmlib_state {
	u8 key[32];
	int rounds;
};

void asmlib_round(struct asmlib_state *state);

int asmlib_run(struct asmlib_state *state)
{
	for (int i = 0; i < state->rounds; i++)
		asmlib_round(state);
	return state->key[0];
}
