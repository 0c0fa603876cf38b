/* Nameless structs, unions and enums, and whatever else is rare. */
#include <linux/module.h>

enum { ZOO_CAGES = 12, ZOO_KEEPERS = 3 };
enum { ZOO_DEBT = -7 };
enum zoo_future;

typedef enum { FED, HUNGRY } zoo_mood_t;
typedef struct { int legs; } animal_t;
typedef union { animal_t animal; u64 raw; } cage_t;
typedef void visitor_t(const animal_t *, ...);

struct zoo_empty {
};

struct zoo_flex {
	u16 count;
	struct {
		u8 kind;
		union {
			u32 weight;
			struct {
				u16 low, high;
			};
		};
	} entries[];
};

struct zoo {
	cage_t cages[ZOO_CAGES];
	struct {
		struct {
			struct {
				int deep;
			};
		} middle;
		union {
			u8 bytes[8];
			u64 word;
		};
	};
	enum { OPEN, CLOSED, REPAIR = 0x7fffffff } state;
	enum { HUGE = 0x8000000000000000ULL } size;
	zoo_mood_t mood[2];
	visitor_t *visit;
	void (*(*on_close)(struct zoo *))(void);
	const volatile int *restrict gate;
	char *const *names;
	struct zoo_empty nothing;
	struct zoo_flex *flex;
	struct zoo_stranger *stranger;
	union zoo_unknown *unknown;
	enum zoo_future *future;
	int none[0];
};

struct zoo the_zoo = { .state = REPAIR, .size = HUGE };

int zoo_feed(struct zoo *zoo, int (*feed)(animal_t *, zoo_mood_t), int amount, ...)
{
	struct keeper {
		int hands;
		struct zoo *zoo;
	} keeper = { ZOO_KEEPERS, zoo };

	for (int i = 0; i < ZOO_CAGES; i++)
		keeper.hands += feed(&zoo->cages[i].animal, zoo->mood[i & 1]);
	return keeper.hands + amount + ZOO_DEBT;
}
