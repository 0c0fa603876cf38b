// What a C++ object has that BTF has not: references, methods, bases.
namespace spaces {
struct base { int a; virtual ~base() = default; };
struct derived : base { int b; static int count; int method(const base &other) const; };
int derived::method(const base &other) const { return other.a + b; }
int derived::count = 3;
}
int by_reference(int &number) { return number; }
