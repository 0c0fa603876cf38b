// C++ that stays within what C has can be encoded.
namespace spaces {
struct inside { int a; enum class scoped : unsigned char { one = 1 } which; };
inside *object;
}
class with_static { public: int member; static int shared; with_static *next; };
with_static *first;
extern "C" int plain_function(spaces::inside *i) { return i->a; }
